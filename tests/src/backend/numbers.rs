//! The changes of a service as etcd itself numbers them, past every proxy and every plugin.

use std::net::SocketAddr;
use std::time::Duration;

use etcd_client::{Client, EventType, GetOptions, KeyValue, WatchOptions};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use waypost_core::{NodeId, ServiceName};
use waypost_plugin_kit::codec;
use waypost_plugin_kit::layout::Prefix;

use crate::Result;
use crate::history::History;
use crate::random::record::{Told, What};

const NAME: &str = "numbers";
/// The pause before a server that does not answer is asked again.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Records the changes for as long as it lives.
#[derive(Debug)]
pub struct Numbers(AbortHandle);

impl Numbers {
    pub(super) fn start(
        server: SocketAddr,
        namespace: &str,
        service: ServiceName,
        history: History,
    ) -> Result<Self> {
        let prefix = Prefix::new(namespace)?.service(&service);
        let mut reader = Reader {
            prefix,
            service,
            history,
            revision: None,
        };
        let reading = async move {
            loop {
                // It is killed, frozen and wiped: whatever it says, it is asked again.
                let _ = reader.read(server).await;
                sleep(PAUSE).await;
            }
        };
        Ok(Self(tokio::spawn(reading).abort_handle()))
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Reader {
    prefix: String,
    service: ServiceName,
    history: History,
    /// Up to which everything is recorded.
    revision: Option<i64>,
}

impl Reader {
    async fn read(&mut self, server: SocketAddr) -> Result<()> {
        let mut client = timeout(ANSWER, Client::connect([server.to_string()], None)).await??;
        let all = GetOptions::new().with_prefix();
        let found = timeout(ANSWER, client.get(self.prefix.as_str(), Some(all))).await??;
        let revision = found.header().ok_or("no header")?.revision();
        // A server that forgot everything begins its numbers anew.
        let from = match self.revision {
            Some(known) if known <= revision => known,
            _ => {
                let records = found.kvs().iter().filter_map(|one| self.told(one, true));
                let all = records.collect();
                let anew = What::Renumbered { revision, all };
                self.history.tell(NAME, || anew);
                revision
            }
        };
        self.revision = Some(from);
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(from + 1);
        let mut stream = client.watch(self.prefix.as_str(), Some(options)).await?;
        while let Some(response) = stream.message().await? {
            if response.canceled() {
                return Ok(());
            }
            for event in response.events() {
                let is_there = event.event_type() == EventType::Put;
                let Some(record) = event.kv() else { continue };
                let revision = record.mod_revision();
                if let Some(change) = self.told(record, is_there) {
                    let numbered = What::Numbered { revision, change };
                    self.history.tell(NAME, || numbered);
                }
                self.revision = Some(revision);
            }
        }
        Ok(())
    }

    fn told(&self, record: &KeyValue, is_there: bool) -> Option<Told> {
        let key = record.key_str().ok()?;
        let node = key.strip_prefix(&self.prefix)?;
        let stamp = if is_there {
            let service = ServiceName::new(self.service.as_str()).ok()?;
            let node = NodeId::new(node).ok()?;
            let instance = codec::decode_record(service.as_str(), node.as_str(), record.value());
            Some((&instance.ok()?).into())
        } else {
            None
        };
        Some(Told {
            service: self.service.to_string(),
            node: node.to_owned(),
            stamp,
        })
    }
}
