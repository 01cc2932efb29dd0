//! Servers in containers, that can be paused, killed, wiped and brought back on the same port.
//!
//! Images are built by `docker/images.sh`; nothing is pulled. A container ends with its
//! [`Server`], and with the process however that ends: a small shell waits for the process's pipe
//! to close and removes the container then. What slipped through even so (a killed shell) is swept
//! when the next server starts.
//!
//! * [`Launch`] starts a server with arguments and files of a test's own; [`Papers`] are
//!   certificates for it and for its clients.
//! * [`endures`] sees a registry's clients through a fault of its server.

mod caller;
mod consul;
mod endure;
mod etcd;
mod launch;
mod papers;
mod reaper;
mod recipe;
mod server;
mod sweep;
mod zookeeper;

pub use consul::{CONSUL, CONSUL_GUARDED, consul_address};
pub use endure::{endures, frozen_past_the_ttl};
pub use etcd::{ETCD, etcd_address};
pub use launch::Launch;
pub use papers::Papers;
pub use recipe::Recipe;
pub use server::{Output, Server};
pub use zookeeper::{ZOOKEEPER, zookeeper_address};

/// Every backend that has a server.
pub const RECIPES: &[Recipe] = &[ETCD, CONSUL, ZOOKEEPER];
