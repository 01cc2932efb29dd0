//! Picks one node of a service.
//!
//! A [`Balancer`] is told the nodes of one service ([`Balancer::publish`]) and picks among them by
//! its [`Rules`]: a [`Strategy`], [`Filter`]s, calls divided between versions ([`Canary`]), nodes
//! that come first ([`Prefer`]), nodes that fail left out for a while ([`Ejection`]). What became of
//! each call is told to its [`Pick`]. A [`Selector`] holds the balancers of all services by name.
//!
//! Nothing here waits, asks or keeps a task: all work is done when something is published, and a pick
//! reads what was arranged then. What a strategy counts, each thread counts for itself.
//!
//! # What a pick costs
//!
//! Nanoseconds of CPU a pick, the pick dropped or marked included, from one run of
//! `cargo xtask bench picks` on two cores that others used too; nothing is allocated.
//!
//! | | 10 nodes | 10 000 | two pinned threads, 10 000 |
//! |---|---|---|---|
//! | floor: arc-swap's cache, a node that is borrowed | 2.2 | 2.2 | 2.2 |
//! | the same, a node of one's own | 4.4 | 7.0 | 7.0 |
//! | `random` | 3.3 | 3.4 | 3.4 |
//! | `round_robin` | 3.3 | 3.4 | 3.3 |
//! | `weighted` | 4.1 | 4.5 | 4.6 |
//! | floor: the key's hash and a look into a table as large | 2.3 | 10.0 | 5.4 |
//! | `consistent_hash` | 4.7 | 10.2 | 7.5 |
//! | `least_conn`, told of success | 32 | 39 | 42 |
//! | `p2c_ewma`, told of success | 39 | 50 | 50 |
//! | tower's `PeakEwma`, ready and call | 467 | | |
//!
//! Twice the floor is the aim: `weighted` (2.06 times at 10 000 nodes) and `consistent_hash` (2.03 times
//! at 10) miss it by a hair.
//!
//! A thread has eight balancers at hand; from others, and for calls with filters or a
//! strategy of their own, a pick takes longer.
//!
//! ```
//! use std::sync::Arc;
//! use waypost_core::{Address, Instance, Node, NodeId, ServiceName};
//! use waypost_selector::{Balancer, Options, Outcome, Rules};
//!
//! let orders = ServiceName::new("orders")?;
//! let node = Node::new(NodeId::new("orders-1")?, Address::new("10.0.0.1:8080")?);
//! let balancer = Balancer::new(orders.clone(), Rules::new())?;
//! balancer.publish_nodes([Arc::new(Instance::new(orders, node))], []);
//!
//! let pick = balancer.pick(&Options::new())?;
//! assert_eq!(pick.node().address().as_str(), "10.0.0.1:8080");
//! println!("{}", pick.why());
//! pick.mark(Outcome::SUCCESS);
//! # Ok::<(), waypost_core::Error>(())
//! ```

mod alias;
mod balancer;
mod builder;
mod clock;
mod compare;
mod counts;
mod explain;
mod local;
mod maglev;
mod next;
mod node;
mod options;
mod pace;
mod pick;
mod rules;
mod seat;
mod selector;
mod shared;
mod slots;
mod strategy;
mod suspects;
mod table;
#[cfg(test)]
mod tests;
mod thread;
mod writer;

pub use balancer::Balancer;
pub use explain::{Explained, Explanation, Why};
pub use next::Next;
pub use node::Node;
pub use options::{NoneAvailable, Options};
pub use pick::{Outcome, Pick};
pub use rules::{Canary, Ejection, Filter, Prefer, Rules, ZONE};
pub use selector::Selector;
pub use strategy::{Candidate, Choose, Key, Strategy};
