//! What happens to clusters of three: etcd, Consul, ZooKeeper.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use waypost_tests::backend::{ConsulCluster, EtcdCluster, ZooKeeperCluster};
use waypost_tests::faults;
use waypost_tests::suite::{Mixed, Places};

fn main() -> ExitCode {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = scratch.parent().unwrap_or(scratch);
    let places = Places {
        agent: PathBuf::from(env!("CARGO_BIN_EXE_waypost-test-agent")),
        table: target.join("waypost/clusters.json"),
    };
    Mixed::new("clusters", places)
        .with(faults::cluster::<EtcdCluster>())
        .with(faults::cluster::<ConsulCluster>())
        .with(faults::cluster::<ZooKeeperCluster>())
        .with_long("etcd_follower_keeps_ten_thousand_leases", || {
            Box::pin(faults::follower_keeps_ten_thousand_leases())
        })
        .run()
}
