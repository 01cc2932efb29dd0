//! The faults, by family. Each is a law, a bound, a house and what is done to it.

mod access;
mod answers;
mod certificates;
mod clock;
mod cluster;
mod cold;
mod consul;
mod follower;
mod history;
mod limits;
mod load;
mod network;
mod owner;
mod records;
mod server;
mod slow;
mod zookeeper;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::Result;
use crate::backend::{Backend, Consul, Etcd, Zookeeper};
use crate::bounds::Bound;
use crate::house::{House, Shape};

pub use cluster::{Repeated, cluster};
pub use follower::follower_keeps_ten_thousand_leases;

/// What is done, once a repetition. Returns what the bound is about: seconds mostly.
pub type Run<B> = for<'a> fn(&'a mut House<B>) -> BoxFuture<'a, Result<f64>>;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Fault<B> {
    /// Its name, which is also the trial's.
    pub name: &'static str,
    /// What must hold, as a sentence.
    pub law: &'static str,
    /// How far what is measured may go.
    pub bound: Bound,
    /// The house that it happens to.
    pub shape: Shape,
    /// What is done.
    pub run: Run<B>,
}

/// The faults that every server can have. Long ones first, so that the last to end is a short one.
#[must_use]
pub fn common<B: Backend>() -> Vec<Fault<B>> {
    let mut all = network::faults();
    all.extend(certificates::faults());
    all.extend(load::faults());
    all.extend(slow::faults());
    all.extend(clock::faults());
    all.extend(limits::faults());
    all.extend(owner::faults());
    all.extend(server::faults());
    all.extend(records::faults());
    all.extend(cold::faults());
    all
}

/// All faults of etcd.
#[must_use]
pub fn etcd() -> Vec<Fault<Etcd>> {
    let mut all = common();
    all.extend(answers::etcd());
    all.extend(history::faults());
    all.extend(access::faults());
    all
}

/// All faults of Consul.
#[must_use]
pub fn consul() -> Vec<Fault<Consul>> {
    let mut all = common();
    all.extend(consul::faults());
    all
}

/// All faults of ZooKeeper.
#[must_use]
pub fn zookeeper() -> Vec<Fault<Zookeeper>> {
    let mut all = common();
    all.extend(answers::zookeeper());
    all.extend(zookeeper::faults());
    all
}

/// How long a measure is waited for before it counts as never: long enough that a broken bound
/// still shows its true value.
fn patience(bound: Duration) -> Duration {
    bound * 3 + Duration::from_secs(5)
}

/// A line of a process's memory account (`VmRSS:`), in kB.
fn memory(pid: u32, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let number = found.and_then(|text| text.split_whitespace().next());
    Ok(number.ok_or("no such line")?.parse()?)
}

fn seconds(duration: Duration) -> Result<f64> {
    Ok(duration.as_secs_f64())
}
