//! What the laws share.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{Instance, Origin, Registry, ServiceName, Target};
use waypost_dns::DRIVER;
use waypost_testkit::containers::dns::{Data, ZONE};

/// Longest wait of any law.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn open(url: &str) -> Arc<dyn Registry> {
    let target = Target::parse(url, None, Origin::Code).expect("target");
    (DRIVER.connect)(target).await.expect("opening asks nobody")
}

pub(crate) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("name")
}

/// A domain of its own for one law.
pub(crate) fn fresh(law: &str) -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(8)
        .collect();
    format!("{law}-{}.{ZONE}", random.to_ascii_lowercase())
}

pub(crate) fn srv(port: u16, target: &str) -> Data {
    Data::Srv {
        priority: 0,
        weight: 0,
        port,
        target: target.to_owned(),
    }
}

/// `id address` of each.
pub(crate) fn shown(all: &[Instance]) -> Vec<String> {
    let one = |instance: &Instance| format!("{} {}", instance.node.id, instance.node.address);
    all.iter().map(one).collect()
}

/// Tries again until it holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
