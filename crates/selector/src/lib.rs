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
mod random;
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
