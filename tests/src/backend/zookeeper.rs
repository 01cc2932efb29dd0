//! ZooKeeper.

mod session;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use waypost_core::{InstanceKey, ServiceName};
use waypost_plugin_kit::layout::Prefix;
use waypost_testkit::containers::{Server, ZOOKEEPER};
use zookeeper_client::{Acl, Acls, Client, CreateMode, CreateOptions, Stat};

use crate::{Result, ensure};

use super::{Backend, PASSWORD};

/// The user of the agents and readers where a password is demanded.
const USER: &str = "svc";
/// The user whom no access list binds, and its password.
const ROOT: &str = "super:root";

/// A server that takes sixteen connections of one address.
pub(crate) const FEW_CONNECTIONS: &str = "few connections";
/// A server that takes no request of more than 100 kB.
pub(crate) const SMALL_REQUESTS: &str = "small requests";
/// A server of a version without recursive watches.
pub(crate) const ANCIENT: &str = "3.4";

type Environment = &'static [(&'static str, &'static str)];

/// As go-micro creates: a znode that is nobody's, and anybody's.
const PERSISTENT: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

const USUAL: Environment = &[("ZOO_MAX_CLIENT_CNXNS", "0"), ("JVMFLAGS", DIGEST)];
const FEW: Environment = &[("ZOO_MAX_CLIENT_CNXNS", "16"), ("JVMFLAGS", DIGEST)];
const SMALL: Environment = &[
    ("ZOO_MAX_CLIENT_CNXNS", "0"),
    ("JVMFLAGS", "-Djute.maxbuffer=100000"),
];
/// The hash of [`ROOT`].
const DIGEST: &str =
    "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:zUZ0bpqYS7FucDXsnUgxOWTto1s=";

/// One ZooKeeper in a container.
#[derive(Debug)]
pub struct Zookeeper {
    server: Server,
    address: SocketAddr,
    guarded: bool,
    is_ancient: bool,
}

#[async_trait]
impl Backend for Zookeeper {
    const NAME: &str = "zookeeper";
    /// A session's end is rounded up to the next tick of two seconds.
    const SLACK: Duration = Duration::from_secs(3);
    const SHARED_LEASE: bool = true;

    async fn open(arguments: &[&str], guarded: bool) -> Result<Self> {
        let mut recipe = ZOOKEEPER;
        recipe.environment = USUAL;
        for argument in arguments {
            match *argument {
                FEW_CONNECTIONS => recipe.environment = FEW,
                SMALL_REQUESTS => recipe.environment = SMALL,
                ANCIENT => {
                    recipe.name = "zookeeper-3.4";
                    recipe.image = "waypost/zookeeper:3.4";
                    recipe.image_variable = "WAYPOST_IMAGE_ZOOKEEPER_3_4";
                }
                other => return Err(format!("no such ZooKeeper: {other}").into()),
            }
        }
        let server = Server::start(&recipe).await?;
        let address = server.address().parse()?;
        Ok(Self {
            server,
            address,
            guarded,
            is_ancient: arguments.contains(&ANCIENT),
        })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url(&self, via: SocketAddr, namespace: &str) -> String {
        let user = if self.guarded {
            format!("{USER}:{PASSWORD}@")
        } else {
            String::new()
        };
        self.url_of(&user, via, namespace)
    }

    fn observer_url(&self, namespace: &str) -> String {
        let user = if self.guarded {
            format!("{ROOT}@")
        } else {
            String::new()
        };
        self.url_of(&user, self.address, namespace)
    }

    async fn kill(&self) -> Result<()> {
        Ok(self.server.kill().await?)
    }

    async fn start(&self) -> Result<()> {
        Ok(self.server.revive().await?)
    }

    async fn pause(&self) -> Result<()> {
        Ok(self.server.pause().await?)
    }

    async fn unpause(&self) -> Result<()> {
        Ok(self.server.unpause().await?)
    }

    async fn wipe(&mut self) -> Result<()> {
        Ok(self.server.wipe().await?)
    }

    async fn remove(&self, namespace: &str, key: &InstanceKey) -> Result<()> {
        let path = Prefix::new(namespace)?.key(key);
        Ok(self.admin().await?.delete(&path, None).await?)
    }

    async fn end_lease(&self, namespace: &str, key: &InstanceKey) -> Result<()> {
        let owner = self.stat(namespace, key).await?.ephemeral_owner;
        self.close(owner).await
    }

    async fn writes(&self) -> Result<u64> {
        // Transactions would count sessions and what comes to nothing as well.
        let told = self.ask("mntr").await?;
        let line = "zk_ephemerals_count";
        let number = told.lines().find_map(|text| text.strip_prefix(line));
        let number = number.ok_or_else(|| format!("no {line} in {told:?}"))?;
        Ok(number.trim().parse()?)
    }
}

impl Zookeeper {
    fn url_of(&self, user: &str, via: SocketAddr, namespace: &str) -> String {
        // Else what the observer makes could not be changed by those whom it observes.
        let mut query = vec![];
        if user.starts_with("super") {
            query.push("acl=open");
        }
        if self.is_ancient {
            query.push("server_version=3.4.13");
        }
        let query = query.join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        format!("zookeeper://{user}{via}{namespace}{mark}{query}")
    }

    /// A client that may do everything, past every proxy.
    pub(crate) async fn admin(&self) -> Result<Client> {
        let (user, password) = ROOT.split_once(':').unwrap_or_default();
        let mut connector = Client::connector()
            .with_fail_eagerly()
            .with_auth("digest", format!("{user}:{password}").as_bytes());
        if self.is_ancient {
            connector = connector.with_server_version(3, 4, 13);
        }
        Ok(connector.connect(&self.address.to_string()).await?)
    }

    /// Closes the session with this id, whoever's it is.
    pub(crate) async fn close(&self, id: i64) -> Result<()> {
        session::close(self.address, id).await
    }

    /// What the server knows of a record's znode.
    pub(crate) async fn stat(&self, namespace: &str, key: &InstanceKey) -> Result<Stat> {
        let path = Prefix::new(namespace)?.key(key);
        let found = self.admin().await?.check_stat(&path).await?;
        found.ok_or_else(|| format!("{path} is not there").into())
    }

    /// Writes what was not written by Waypost into znodes of the service, which it names.
    pub(crate) async fn plant(
        &self,
        namespace: &str,
        service: &ServiceName,
        records: impl Iterator<Item = (String, Vec<u8>)>,
    ) -> Result<Vec<String>> {
        let admin = self.admin().await?;
        let above = directory(namespace, service)?;
        let mut paths = Vec::new();
        for (node, data) in records {
            let path = format!("{above}/{node}");
            admin.create(&path, &data, &PERSISTENT).await?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Removes znodes.
    pub(crate) async fn uproot(&self, paths: &[String]) -> Result<()> {
        let admin = self.admin().await?;
        let deletions: Vec<_> = paths.iter().map(|path| admin.delete(path, None)).collect();
        for deletion in deletions {
            deletion.await?;
        }
        Ok(())
    }

    /// Gives the service's znode this access list; returns the one that it had.
    pub(crate) async fn permit(&self, namespace: &str, list: &[Acl]) -> Result<Vec<Acl>> {
        let admin = self.admin().await?;
        let path = directory(namespace, &crate::house::service())?;
        let (former, _) = admin.get_acl(&path).await?;
        admin.set_acl(&path, list, None).await?;
        Ok(former)
    }

    /// Leaves the server no room to write, until it is started anew: its process may write to no
    /// file, which fails as a full disk does.
    pub(crate) async fn fill_disk(&self) -> Result<()> {
        let done = Command::new("docker")
            .args(["exec", self.server.id()])
            .args(["prlimit", "--pid", "1", "--fsize=0"])
            .output()
            .await?;
        ensure(done.status.success(), || {
            format!("prlimit: {}", String::from_utf8_lossy(&done.stderr))
        })
    }

    /// The server's answer to a word of four letters.
    async fn ask(&self, word: &str) -> Result<String> {
        let asking = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(word.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        Ok(timeout(Duration::from_secs(5), asking).await??)
    }
}

/// The znode that a service's records stand below.
fn directory(namespace: &str, service: &ServiceName) -> Result<String> {
    let below = Prefix::new(namespace)?.service(service);
    Ok(below.trim_end_matches('/').to_owned())
}
