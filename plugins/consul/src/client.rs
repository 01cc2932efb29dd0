//! The HTTP client that all requests go through.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};
use waypost_core::{Error, Result};
use waypost_plugin_kit::tls::Material;

use crate::config::Config;

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Over TLS all requests share one connection (HTTP/2), which is pinged: K of the house, 6 s + 3 s.
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

/// A client that keeps `idle` unused connections to each agent at most.
pub(crate) fn open(config: &Config, idle: usize) -> Result<Client> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(config.connect_timeout)
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_adaptive_window(true)
        .user_agent(concat!("waypost/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = &config.token {
        let mut value = HeaderValue::from_str(token.expose())
            .map_err(|_| Error::config("the token does not fit into a header"))?;
        value.set_sensitive(true);
        builder = builder.default_headers(HeaderMap::from_iter([(TOKEN, value)]));
    }
    builder = match &config.tls {
        Some(material) => secured(builder.https_only(true), material)?,
        // Else the system's certificates would be read for nothing.
        None => builder.tls_certs_only([]),
    };
    let fault = |error: reqwest::Error| {
        Error::config("the HTTP client cannot be made of these options").with_source(error)
    };
    builder.build().map_err(fault)
}

fn secured(
    mut builder: reqwest::ClientBuilder,
    material: &Material,
) -> Result<reqwest::ClientBuilder> {
    if let Some(ca) = &material.ca {
        let certificates = Certificate::from_pem_bundle(ca)
            .map_err(|error| Error::config("option `ca` cannot be used").with_source(error))?;
        builder = builder.tls_certs_only(certificates);
    }
    if let Some(identity) = &material.identity {
        let both = [identity.cert.as_slice(), b"\n", identity.key.as_slice()].concat();
        // The cause is left out: it could quote what stands in the file of the key.
        let identity = Identity::from_pem(&both)
            .map_err(|_| Error::config("options `cert` and `key` cannot be used"))?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}
