//! What all measurements share: the server, the sizes, ways to connect and to fill.

use std::sync::Arc;

use anyhow::Result;
use etcd_client::{Client, DeleteOptions, Txn, TxnOp};
use waypost_core::{
    Address, Endpoint, Instance, Node, NodeId, Origin, Registry, ServiceName, Target,
};
use waypost_plugin_kit::codec;

use super::server::Server;

/// Puts of one transaction; the server takes 128 operations.
const BATCH: usize = 128;

/// Where and how much is measured.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) server: Server,
    pub(crate) rounds: usize,
    pub(crate) nodes: usize,
    pub(crate) seconds: u64,
}

impl Setting {
    /// A raw client, with a connection of its own.
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(Client::connect([self.server.address()], None).await?)
    }

    /// The URL of our registry, whose records stand under a prefix of this measurement's own.
    pub(crate) fn url(&self, space: &str) -> String {
        format!("etcd://{}{}", self.server.address(), prefix(space))
    }

    /// Our registry, with a connection of its own.
    pub(crate) async fn registry(&self, space: &str) -> Result<Arc<dyn Registry>> {
        connect(&self.url(space)).await
    }

    /// Writes instances without a lease, as another process would have.
    pub(crate) async fn fill(&self, space: &str, instances: &[Instance]) -> Result<()> {
        let mut client = self.client().await?;
        for batch in instances.chunks(BATCH) {
            let put = |one: &Instance| TxnOp::put(key(space, one), codec::encode(one), None);
            let puts: Vec<TxnOp> = batch.iter().map(put).collect();
            client.txn(Txn::new().and_then(puts)).await?;
        }
        Ok(())
    }

    /// Removes what a measurement left.
    pub(crate) async fn clear(&self, space: &str) -> Result<()> {
        let options = DeleteOptions::new().with_prefix();
        let mut client = self.client().await?;
        client
            .delete(format!("{}/", prefix(space)), Some(options))
            .await?;
        Ok(())
    }
}

/// Opens the registry that `url` names.
pub(crate) async fn connect(url: &str) -> Result<Arc<dyn Registry>> {
    let target = Target::parse(url, None, Origin::Code)?;
    let driver = match target.driver() {
        "memory" => waypost_memory::DRIVER,
        "consul" => waypost_consul::DRIVER,
        "zookeeper" => waypost_zookeeper::DRIVER,
        _ => waypost_etcd::DRIVER,
    };
    Ok((driver.connect)(target).await?)
}

/// The prefix of a measurement, different in every process.
pub(crate) fn prefix(space: &str) -> String {
    format!("/waypost-bench/{}-{space}", std::process::id())
}

/// The key of a record.
pub(crate) fn key(space: &str, instance: &Instance) -> String {
    format!(
        "{}/{}/{}",
        prefix(space),
        instance.service,
        instance.node.id
    )
}

/// The service that is measured.
pub(crate) fn service() -> Result<ServiceName> {
    Ok(ServiceName::new("orders")?)
}

/// A record such as a service writes: about 370 bytes.
pub(crate) fn instance(service: &ServiceName, number: usize) -> Result<Instance> {
    let id = NodeId::new(&format!("{service}-{number:05}"))?;
    let address = format!(
        "10.{}.{}.{}:8080",
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255
    );
    let node = Node::new(id, Address::new(&address)?)
        .with_metadata("protocol", "grpc")
        .with_metadata("zone", "eu-1a")
        .with_metadata("weight", "100");
    Ok(Instance::new(service.clone(), node)
        .with_version("1.4.2")
        .with_metadata("team", "checkout")
        .with_endpoint(Endpoint::new("Orders.Place"))
        .with_endpoint(Endpoint::new("Orders.List")))
}

/// Instances `from` to before `to`.
pub(crate) fn instances(service: &ServiceName, from: usize, to: usize) -> Result<Vec<Instance>> {
    (from..to).map(|number| instance(service, number)).collect()
}
