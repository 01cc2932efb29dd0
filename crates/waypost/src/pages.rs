//! A client's pages for an admin listener.

use std::collections::BTreeMap;

use waypost_client::Client;
use waypost_core::Result;
use waypost_server::Admin;

/// Adds what `client` knows to `admin`, under the key `client`: `/stats` (each service's nodes with
/// calls under way, latency, failures and connections) and `/explain` (what is picked from, why not
/// from others; `?service=orders` for one).
///
/// Programs with a listener of their own serialize [`Client::stats`] and [`Client::explain`].
///
/// # Errors
/// As [`Admin::section`].
pub fn client_pages(admin: &Admin, client: &Client) -> Result<()> {
    let stats = client.clone();
    admin.section("/stats", "client", move |_| {
        let stats = stats.clone();
        async move { stats.stats() }
    })?;
    let explained = client.clone();
    admin.section("/explain", "client", move |query| {
        let client = explained.clone();
        async move {
            let asked = query.get("service").map(ToString::to_string);
            let names = client.services();
            let names = names.iter().map(waypost_core::ServiceName::as_str);
            let names = names.filter(|name| asked.as_deref().is_none_or(|asked| asked == *name));
            let told = names.filter_map(|name| Some((name.to_owned(), client.explain(name)?)));
            told.collect::<BTreeMap<_, _>>()
        }
    })
}
