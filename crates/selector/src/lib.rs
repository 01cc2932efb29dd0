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
//! | floor: arc-swap's cache, a node that is borrowed | 2.0 | 2.0 | 2.1 |
//! | the same, a node of one's own | 4.3 | 6.6 | 7.0 |
//! | `random` | 3.5 | 3.5 | 3.6 |
//! | `round_robin` | 4.0 | 4.3 | 3.5 |
//! | `weighted` | 4.2 | 4.6 | 4.3 |
//! | floor: the key's hash and a look into a table as large | 2.2 | 10.5 | 4.2 |
//! | `consistent_hash` | 4.7 | 10.9 | 7.3 |
//! | `least_conn`, told of success | 32 | 39 | 40 |
//! | `p2c_ewma`, told of success | 40 | 49 | 51 |
//! | tower's `PeakEwma`, ready and call | 467 | | |
//!
//! Twice the floor is the aim. Over several runs `random` takes 1.5 to 1.8 times; `round_robin` (1.5 to
//! 2.3), `weighted` (1.9 to 2.4) and `consistent_hash` (1.0 to 2.1) miss it narrowly.
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
