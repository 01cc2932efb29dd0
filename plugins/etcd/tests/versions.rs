//! The house's one suite, on older servers.

mod support;

use std::process::ExitCode;

use waypost_testkit::containers::{ETCD_3_3, ETCD_3_4, Recipe, Server};
use waypost_testkit::{Missing, versions};

use support::Etcd;

async fn on(recipe: Recipe) -> Result<Etcd, Missing> {
    let server = Server::start(&recipe).await?;
    Etcd::at(server.address(), Some(server)).await
}

fn main() -> ExitCode {
    versions(vec![("3.4", on(ETCD_3_4)), ("3.3", on(ETCD_3_3))])
}
