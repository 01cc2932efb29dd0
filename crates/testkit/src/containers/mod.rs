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
//! * A [`Cluster`] is three of them on a network of their own.

mod caller;
mod cluster;
mod consul;
pub mod dns;
mod endure;
mod ensemble;
mod etcd;
mod image;
mod launch;
mod netns;
mod network;
mod papers;
mod reaper;
mod recipe;
mod server;
mod sweep;
mod zookeeper;

use recipe::Setup;

pub use cluster::Cluster;
pub use consul::{CONSUL, CONSUL_CLUSTER, CONSUL_GUARDED, consul_address};
pub use dns::{DNS, dns_address};
pub use endure::{endures, frozen_past_the_ttl, takes_new_certificates};
pub use ensemble::Ensemble;
pub use etcd::{ETCD, ETCD_3_3, ETCD_3_4, ETCD_CLUSTER, etcd_address};
pub use launch::Launch;
pub use papers::Papers;
pub use recipe::Recipe;
pub use server::{Output, Server};
pub use zookeeper::{
    ZOOKEEPER, ZOOKEEPER_3_4, ZOOKEEPER_3_8, ZOOKEEPER_CLUSTER, zookeeper_address,
};

/// Every backend that has a server.
pub const RECIPES: &[Recipe] = &[ETCD, CONSUL, ZOOKEEPER, DNS];
