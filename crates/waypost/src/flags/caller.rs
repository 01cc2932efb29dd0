//! From flags to a client.

use std::sync::Arc;

use waypost_client::{ClientBuilder, Lookups};
use waypost_core::{Error, Result, Target};

use super::Flags;
use crate::dialled::Dialled;
use crate::{Drivers, nearest};

/// What `--selector` can be: where a client's nodes come from.
const SELECTORS: [&str; 4] = ["cache", "registry", "dns", "static"];

impl Flags {
    /// What was given by flags and environment, over what the program says of its client:
    /// `--client_retries`, `--client_request_timeout`, `--client_pool_size`, `--client_pool_ttl`,
    /// `--selector`, `--selector_strategy`; and the registry that was chosen. What nobody gave stays as the program has it;
    /// `default` is the registry where neither says one.
    ///
    /// | `--selector` | nodes |
    /// |---|---|
    /// | `cache` (default) | as the registry's watch tells them; no call waits for the registry |
    /// | `registry` | looked up anew before every call: a round trip to the registry each |
    /// | `dns` | those that DNS tells of the service's name; needs feature `dns` |
    /// | `static` | the service's name is the address that is dialled, `host:port` |
    ///
    /// ```no_run
    /// use clap::Parser;
    /// use waypost::{Drivers, client::Client, flags};
    ///
    /// #[derive(Parser)]
    /// struct Cli {
    ///     #[command(flatten)]
    ///     waypost: flags::Flags,
    /// }
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let cli = Cli::parse_from(flags::argv());
    /// let client = Client::builder().retries(1);
    /// let client = cli.waypost.client(client, &Drivers::builtin(), "file").await?.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Flags::target`] and [`Drivers::connect`]; [`ErrorKind::Config`](crate::ErrorKind::Config)
    /// for a selector or a strategy that there is none of, with the nearest that there is.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn client(
        &self,
        mut client: ClientBuilder,
        drivers: &Drivers,
        default: &str,
    ) -> Result<ClientBuilder> {
        if let Some(retries) = self.client_retries {
            client = client.retries(retries);
        }
        if let Some(timeout) = self.client_request_timeout {
            client = client.request_timeout(timeout);
        }
        if let Some(size) = self.client_pool_size {
            client = client.pool_size(size);
        }
        if let Some(ttl) = self.client_pool_ttl {
            client = client.pool_ttl(ttl);
        }
        if let Some(strategy) = &self.selector_strategy {
            client = client.strategy(strategy.parse()?);
        }
        match self.selector.as_deref() {
            None => {}
            Some("cache") => client = client.lookups(Lookups::Followed),
            Some("registry") => client = client.lookups(Lookups::EachCall),
            Some("dns") => {
                let registry = drivers.connect(&Target::new("dns")?).await?;
                return Ok(client.registry(registry));
            }
            Some("static") => return Ok(client.registry(Arc::new(Dialled::new()))),
            Some(other) => return Err(unknown(other)),
        }
        let chosen = self.registry.is_some() || self.registry_address.is_some();
        if chosen || !client.has_registry() {
            let registry = drivers.connect(&self.target(default)?).await?;
            client = client.registry(registry);
        }
        Ok(client)
    }
}

fn unknown(selector: &str) -> Error {
    let shown = selector.escape_debug();
    let meant = nearest(selector, SELECTORS)
        .map(|meant| format!("; `{meant}` may be meant"))
        .unwrap_or_default();
    Error::config(format!(
        "there is no selector `{shown}`{meant} (there are: {})",
        SELECTORS.join(", ")
    ))
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests {
    use std::time::Duration;

    use waypost_client::Client;

    use super::*;
    use crate::flags::parse::tests::flags;

    async fn built(line: &[&str], environment: &[(&str, &str)]) -> Result<String> {
        let flags = flags(line, environment).expect("flags");
        let code = Client::builder()
            .retries(7)
            .request_timeout(Duration::from_secs(7))
            .pool_size(7)
            .pool_ttl(Duration::from_secs(7));
        let client = flags.client(code, &Drivers::builtin(), "memory").await?;
        Ok(format!("{client:?}"))
    }

    #[tokio::test]
    async fn a_flag_wins_over_the_environment_that_over_the_code_and_that_over_the_default() {
        let line = ["--client_retries", "1", "--client_pool_size", "2"];
        let environment = [
            ("MICRO_CLIENT_RETRIES", "3"),
            ("MICRO_CLIENT_REQUEST_TIMEOUT", "4"),
        ];
        let seen = built(&line, &environment).await.expect("a client");
        for part in ["retries: 1,", "timeout: 4s", "size: 2", "ttl: 7s"] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        let bare = built(&[], &[]).await.expect("a client");
        for part in ["retries: 7,", "timeout: 7s", "size: 7", "ttl: 7s"] {
            assert!(bare.contains(part), "{part} in {bare}");
        }
    }

    #[tokio::test]
    async fn strategies_are_taken_by_name_and_others_refused_with_the_nearest() {
        let seen = built(&["--selector_strategy", "least-conn"], &[]).await;
        let seen = seen.expect("a client");
        assert!(seen.contains("strategy: least_conn"), "{seen}");
        let error = built(&[], &[("MICRO_SELECTOR_STRATEGY", "lest_conn")]).await;
        let error = error.expect_err("no such strategy").to_string();
        assert!(error.contains("did you mean `least_conn`?"), "{error}");
    }

    #[tokio::test]
    async fn selectors_are_taken_by_name_and_others_refused_with_the_nearest() {
        for (selector, seen) in [
            ("cache", "Followed"),
            ("registry", "EachCall"),
            ("static", "Dialled"),
        ] {
            let client = built(&["--selector", selector], &[]).await;
            let client = client.expect(selector);
            assert!(client.contains(seen), "{selector}: {client}");
        }
        let error = built(&["--selector", "registri"], &[]).await;
        let error = error.expect_err("no such selector").to_string();
        assert!(error.contains("`registry` may be meant"), "{error}");
        let error = built(&["--selector", "x"], &[]).await;
        assert!(error.is_err());
    }

    #[tokio::test]
    async fn the_programs_own_registry_stays_where_nobody_gave_one() {
        let (drivers, target) = (Drivers::builtin(), Target::new("memory"));
        let own = drivers.connect(&target.expect("a target")).await;
        let own = own.expect("connected");
        let code = Client::builder().registry(Arc::clone(&own));
        let flags = Flags::default();
        let client = flags.client(code, &drivers, "file").await;
        let client = client.expect("a client").build().expect("a client");
        assert!(Arc::ptr_eq(client.directory().registry(), &own));
    }
}
