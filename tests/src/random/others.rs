//! Services beside the house's own: nobody in the house may ever be told of their records.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::sleep;
use waypost_core::{
    Address, Instance, Node, NodeId, Registration, RegistrationOptions, Registry, ServiceName,
};

use crate::Result;
use crate::bounds::T;

/// Somebody else's node, which changes all the time.
#[derive(Debug)]
pub(super) struct Other(AbortHandle);

impl Other {
    pub(super) fn start(registry: Arc<dyn Registry>, name: &str) -> Result<Self> {
        // An id of its own: an agent of Consul has one record an id, whatever its service.
        let id = NodeId::new(&format!("{name}-1"))?;
        let node = Node::new(id, Address::new("127.0.0.1:22001")?);
        let instance = Instance::new(ServiceName::new(name)?, node);
        let options = RegistrationOptions::new().with_ttl(T);
        let registration = Registration::start(registry, instance.clone(), options)?;
        let changing = async move {
            for turn in 0_u64.. {
                sleep(Duration::from_millis(700)).await;
                let changed = instance.clone().with_version(turn.to_string());
                // What cannot be written now stays wished for.
                let _ = registration.update(changed).await;
            }
        };
        Ok(Self(tokio::spawn(changing).abort_handle()))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.abort();
    }
}
