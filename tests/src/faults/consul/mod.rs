//! Faults that only Consul has, or has in its own way.

mod access;
mod answers;
mod batch;
mod churn;
mod hostile;
mod index;

use serde_json::{Value, json};

use crate::backend::Consul;
use crate::house::SERVICE;

use super::Fault;

pub(super) fn faults() -> Vec<Fault<Consul>> {
    let mut all = answers::faults();
    all.extend(access::faults());
    all.extend(index::faults());
    all.extend(churn::faults());
    all.extend(batch::faults());
    all.extend(hostile::faults());
    all
}

/// The name of a machine that has no agent.
fn machine(purpose: &str) -> String {
    format!("{purpose}-{:08x}", fastrand::u32(..))
}

/// A record of such a machine, of the service that everybody follows.
fn record(id: &str, place: usize) -> Value {
    json!({
        "ID": id, "Service": SERVICE, "Address": "127.0.0.1", "Port": 23_000 + place,
        "Tags": ["v=1"],
    })
}
