//! A memory registry, nodes on real sockets, and clients of them.
#![allow(dead_code, reason = "each test uses a part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use waypost_client::{Client, ClientBuilder};
use waypost_core::{
    Address, Instance, InstanceKey, Lease, Node, NodeId, RegisterOptions, Registry, ServiceName,
    Target,
};

pub(crate) struct House {
    pub(crate) registry: Arc<dyn Registry>,
    leases: Mutex<Vec<Box<dyn Lease>>>,
}

impl House {
    pub(crate) async fn new() -> Self {
        let target = Target::new("memory").expect("a target");
        let registry = (waypost_memory::DRIVER.connect)(target).await;
        Self {
            registry: registry.expect("connected"),
            leases: Mutex::default(),
        }
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        Client::builder().registry(Arc::clone(&self.registry))
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().expect("a client")
    }

    /// Serves and registers a node.
    pub(crate) async fn serve(
        &self,
        service: &str,
        id: &str,
        protocol: Option<&str>,
        router: Router,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        self.announce(service, id, protocol, address).await;
        address
    }

    /// Registers a node, whether or not it is there.
    pub(crate) async fn announce(
        &self,
        service: &str,
        id: &str,
        protocol: Option<&str>,
        address: SocketAddr,
    ) {
        let address = Address::new(&address.to_string()).expect("an address");
        let mut node = Node::new(NodeId::new(id).expect("an id"), address);
        if let Some(protocol) = protocol {
            node = node.with_metadata("protocol", protocol);
        }
        let service = ServiceName::new(service).expect("a name");
        let instance = Instance::new(service, node);
        let options = RegisterOptions::new(Duration::from_secs(600));
        let lease = self.registry.register(&instance, options).await;
        self.leases.lock().await.push(lease.expect("registered"));
    }
}

impl House {
    /// Takes a node's record away.
    pub(crate) async fn leave(&self, service: &str, id: &str) {
        let service = ServiceName::new(service).expect("a name");
        let key = InstanceKey::new(service, NodeId::new(id).expect("an id"));
        self.registry.deregister(&key).await.expect("taken away");
    }
}

/// An address where nobody listens.
pub(crate) fn refused() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.local_addr().expect("an address")
}
