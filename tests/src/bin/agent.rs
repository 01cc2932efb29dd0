//! Registers nodes, serves or watches, as a process of its own, so that tests can kill, stop and cut it
//! off.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use waypost_tests::agent::{Order, SERVES, Watch, serve, watch, work};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        // What becomes of its registrations it tells by itself.
        .with_env_filter(EnvFilter::new("warn,waypost_core::registration=off"))
        .init();
    let worked = if let Ok(text) = std::env::var(Watch::VARIABLE) {
        match serde_json::from_str(&text) {
            Ok(order) => watch(order).await,
            Err(error) => Err(error.into()),
        }
    } else {
        let order = std::env::var(Order::VARIABLE)
            .map_err(|error| format!("{}: {error}", Order::VARIABLE))
            .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
        match order {
            Ok(order) if std::env::var_os(SERVES).is_some() => serve(order).await,
            Ok(order) => work(order).await,
            Err(error) => Err(error.into()),
        }
    };
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the agent ends");
            ExitCode::FAILURE
        }
    }
}
