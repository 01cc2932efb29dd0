//! Decoders from the sources of their crates.

#[path = "../../../plugins/consul/src/record.rs"]
pub(crate) mod consul;
#[path = "../../../crates/core/src/directory/disk.rs"]
pub(crate) mod disk;
#[path = "../../../plugins/file/src/head.rs"]
pub(crate) mod head;
#[path = "../../../plugins/file/src/name.rs"]
pub(crate) mod name;
#[path = "../../../plugins/consul/src/owner.rs"]
pub(crate) mod owner;
#[path = "../../../plugins/consul/src/tags.rs"]
pub(crate) mod tags;
