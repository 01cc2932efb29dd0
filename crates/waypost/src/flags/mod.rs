//! go-micro's command-line flags for any binary, as a clap `Args`.
//!
//! Two lines give a program all of them, in every spelling that go-micro's users know
//! (`--registry_address`, `--registry-address`, `-registry_address`), with `MICRO_*` environment
//! variables behind them:
//!
//! ```no_run
//! use clap::Parser;
//!
//! #[derive(Parser)]
//! struct Cli {
//!     #[command(flatten)]
//!     waypost: waypost::flags::Flags,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> waypost::Result<()> {
//! let cli = Cli::parse_from(waypost::flags::argv());
//! let target = cli.waypost.target("file")?;
//! let registry = waypost::Drivers::builtin().connect(&target).await?;
//! # Ok(())
//! # }
//! ```
//!
//! An explicit flag wins over the environment, that over the program's code, that over the default:
//! every field is an `Option`, so that a flag nobody gave never overrides what the code says.

mod argv;
#[cfg(feature = "client")]
mod caller;
mod duration;
mod parse;
#[cfg(feature = "server")]
mod service;
mod table;
mod target;
mod timing;

use std::fmt;
use std::time::Duration;

use waypost_core::{Metadata, Secret};

pub use argv::{argv, normalized};
pub use duration::parse_duration;
pub use timing::timing_warning;

/// What was given by flags and environment. A field is `None` where neither gave anything.
///
/// The program's own settings go below it with [`Flags::or`], or as arguments of the methods that
/// build something ([`Flags::target`], [`Flags::registration`]).
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flags {
    /// `--registry`: a name or a URL.
    pub registry: Option<Given>,
    /// `--registry_address`: addresses separated by commas.
    pub registry_address: Option<Given>,
    /// `--registry_tls_ca`: a PEM file.
    pub registry_tls_ca: Option<String>,
    /// `--registry_tls_cert`: a PEM file.
    pub registry_tls_cert: Option<String>,
    /// `--registry_tls_key`: a PEM file.
    pub registry_tls_key: Option<String>,
    /// `--registry_username`.
    pub registry_username: Option<String>,
    /// `--registry_password_file`.
    pub registry_password_file: Option<String>,
    /// `MICRO_REGISTRY_PASSWORD`; there is no flag for it.
    pub registry_password: Option<Secret>,
    /// `--register_ttl`.
    pub register_ttl: Option<Duration>,
    /// `--register_interval`.
    pub register_interval: Option<Duration>,
    /// `--selector`.
    pub selector: Option<String>,
    /// `--selector_strategy`.
    pub selector_strategy: Option<String>,
    /// `--client_retries`: further attempts after the first.
    pub client_retries: Option<u32>,
    /// `--client_request_timeout`.
    pub client_request_timeout: Option<Duration>,
    /// `--client_pool_size`.
    pub client_pool_size: Option<u32>,
    /// `--client_pool_ttl`.
    pub client_pool_ttl: Option<Duration>,
    /// `--server_name`.
    pub server_name: Option<String>,
    /// `--server_version`.
    pub server_version: Option<String>,
    /// `--server_id`.
    pub server_id: Option<String>,
    /// `--server_address`: where to listen.
    pub server_address: Option<String>,
    /// `--server_advertise`: what to register, where it differs.
    pub server_advertise: Option<String>,
    /// `--server_metadata`, all of them.
    pub server_metadata: Option<Metadata>,
}

/// A text that may hold a credential, with where it came from.
///
/// `Debug` shows it only where it cannot hold one.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    text: String,
    origin: waypost_core::Origin,
}

impl Given {
    /// Wraps `text` that came from `origin`.
    #[must_use]
    pub fn new(text: impl Into<String>, origin: waypost_core::Origin) -> Self {
        Self {
            text: text.into(),
            origin,
        }
    }

    /// The text as given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> waypost_core::Origin {
        self.origin
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = !self.text.contains(['@', '?']);
        f.write_str(if open { &self.text } else { "[redacted]" })
    }
}

macro_rules! each_field {
    ($do:ident) => {
        $do!(
            registry,
            registry_address,
            registry_tls_ca,
            registry_tls_cert,
            registry_tls_key,
            registry_username,
            registry_password_file,
            registry_password,
            register_ttl,
            register_interval,
            selector,
            selector_strategy,
            client_retries,
            client_request_timeout,
            client_pool_size,
            client_pool_ttl,
            server_name,
            server_version,
            server_id,
            server_address,
            server_advertise,
            server_metadata
        )
    };
}

impl Flags {
    /// Fills what nobody gave from `code`, the program's own settings.
    ///
    /// ```
    /// use std::time::Duration;
    /// use waypost::flags::Flags;
    ///
    /// let mut code = Flags::default();
    /// code.register_ttl = Some(Duration::from_secs(90));
    /// code.client_retries = Some(5);
    /// let mut given = Flags::default();
    /// given.client_retries = Some(0);
    /// let both = given.or(code);
    /// assert_eq!(both.register_ttl, Some(Duration::from_secs(90)));
    /// assert_eq!(both.client_retries, Some(0));
    /// ```
    #[must_use]
    pub fn or(self, code: Self) -> Self {
        macro_rules! filled {
            ($($field:ident),*) => { Self { $($field: self.$field.or(code.$field)),* } };
        }
        each_field!(filled)
    }
}

/// Shows what was given, without secrets.
impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Flags");
        macro_rules! show {
            ($($field:ident),*) => {
                $(if let Some(value) = &self.$field { shown.field(stringify!($field), value); })*
            };
        }
        each_field!(show);
        shown.finish_non_exhaustive()
    }
}
