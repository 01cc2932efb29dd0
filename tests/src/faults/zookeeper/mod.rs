//! What only ZooKeeper can have: sessions, access lists, limits of its own.

mod access;
mod limits;
mod sessions;
mod watches;

use crate::backend::Zookeeper;

use super::Fault;

pub(super) fn faults() -> Vec<Fault<Zookeeper>> {
    let mut all = limits::faults();
    all.extend(watches::faults());
    all.extend(access::faults());
    all.extend(sessions::faults());
    all
}
