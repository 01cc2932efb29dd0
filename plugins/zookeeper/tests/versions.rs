//! The house's one suite, on older servers.

mod support;

use std::process::ExitCode;

use waypost_testkit::containers::{Recipe, Server, ZOOKEEPER_3_4, ZOOKEEPER_3_8};
use waypost_testkit::{Missing, versions};

use support::Zookeeper;

async fn on(recipe: Recipe, query: &'static str) -> Result<Zookeeper, Missing> {
    let server = Server::start(&recipe).await?;
    Zookeeper::at(server.address(), query, Some(server)).await
}

fn main() -> ExitCode {
    versions(vec![
        ("3.8", on(ZOOKEEPER_3_8, "")),
        // No release of Debian has a 3.5; a client that is told so needs nothing newer.
        ("3.8_as_3.5", on(ZOOKEEPER_3_8, "server_version=3.5.10")),
        ("3.4", on(ZOOKEEPER_3_4, "server_version=3.4.13")),
    ])
}
