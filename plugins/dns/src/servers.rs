//! The name servers: who is asked, and who is asked next.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer, RetryDnsHandle};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequestOptions, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use waypost_core::{Error, Result};

use crate::ask::{Ask, Nothing, Reply};
use crate::error;

/// A question is sent twice to a server before another is asked: a lost connection, or a stutter,
/// is no reason to go elsewhere.
const TRIES: u32 = 2;

/// One server, with its connections.
struct Server {
    address: SocketAddr,
    client: RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>,
}

/// Asks one after another, the one first that answered last.
///
/// The client's own pool is given one server each: it would take the first "refused" or "cannot
/// now" for everybody's answer.
pub(crate) struct Servers {
    all: Vec<Server>,
    favourite: AtomicUsize,
}

impl Servers {
    /// Prepares to ask `addresses`, each for `timeout` at most. Nothing is sent yet.
    pub(crate) fn new(addresses: &[SocketAddr], timeout: Duration) -> Result<Self> {
        let mut all = Vec::new();
        for &address in addresses {
            let tls = TlsConfig::new()
                .map_err(|told| Error::config("no resolver can be made").with_source(told))?;
            let context = Arc::new(PoolContext::new(options(timeout), tls));
            let provider = TokioRuntimeProvider::default();
            let pool = NameServerPool::from_config([server(address)], context, provider);
            let client = RetryDnsHandle::new(pool, TRIES as usize - 1);
            all.push(Server { address, client });
        }
        Ok(Self {
            all,
            favourite: AtomicUsize::new(0),
        })
    }
}

/// Answers that do not fit into a datagram are asked for again over TCP.
fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn options(timeout: Duration) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = timeout / TRIES;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.num_concurrent_reqs = 1;
    options
}

#[async_trait]
impl Ask for Servers {
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Reply> {
        let first = self.favourite.load(Ordering::Relaxed);
        let mut last = Error::config("no name server is given");
        for turn in 0..self.all.len() {
            let number = (first + turn) % self.all.len();
            let server = &self.all[number];
            let query = Query::query(name.clone(), kind);
            let sent = server.client.lookup(query, DnsRequestOptions::default());
            match understood(sent.first_answer().await) {
                Ok(reply) => {
                    if turn > 0 {
                        self.favourite.store(number, Ordering::Relaxed);
                    }
                    return Ok(reply);
                }
                Err(told) => last = error::fault(server.address, name, &told),
            }
        }
        Err(last)
    }
}

/// Tells "there is none", which is an answer, from not knowing.
fn understood<M: Into<hickory_resolver::proto::op::Message>>(
    answer: Result<M, NetError>,
) -> Result<Reply, NetError> {
    match answer {
        Ok(response) => Ok(Reply::Records(response.into())),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if is_authoritative(&none) => {
            Ok(Reply::Nothing(Nothing {
                exists: none.response_code != ResponseCode::NXDomain,
                ttl: none.negative_ttl,
                serial: none.soa.map(|soa| soa.data.serial),
            }))
        }
        Err(told) => Err(told),
    }
}

/// A referral to other servers proves nothing: this one does not know. An empty answer without any
/// SOA record is taken for what it says, since small servers (in routers, in Docker) give no other.
fn is_authoritative(none: &NoRecords) -> bool {
    none.response_code == ResponseCode::NXDomain || none.soa.is_some() || none.ns.is_none()
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.all.iter().map(|server| server.address);
        f.debug_list().entries(addresses).finish()
    }
}
