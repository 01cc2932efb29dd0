//! etcd.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{
    Client, CompactionOptions, ConnectOptions, Permission, PermissionType,
    RoleRevokePermissionOptions,
};
use waypost_core::{Address, Instance, InstanceKey, Node, NodeId, ServiceName};
use waypost_plugin_kit::codec;
use waypost_plugin_kit::layout::Prefix;
use waypost_testkit::containers::{ETCD, Server};

use crate::Result;
use crate::history::History;
use crate::house::service;

use super::planted::plant_raw;
use super::{Backend, Numbers};

/// Everything that a house writes begins with this.
const HOUSES: &str = "/t/";
/// The first key after those.
const HOUSES_END: &str = "/t0";
/// The user of the agents and readers, and its role.
const USER: &str = "svc";
/// The user's password, unless it was changed.
pub(crate) const PASSWORD: &str = "right";
const ROOT: &str = "root";

/// One etcd node in a container.
#[derive(Debug)]
pub struct Etcd {
    server: Server,
    address: SocketAddr,
    guarded: bool,
}

#[async_trait]
impl Backend for Etcd {
    const NAME: &str = "etcd";
    const SLACK: Duration = Duration::from_millis(1500);
    const PROTOCOLS: &[&str] = &["h2"];

    async fn open(arguments: &[&str], guarded: bool) -> Result<Self> {
        let mut all = vec![
            "--listen-client-urls=http://0.0.0.0:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
        ];
        all.extend(arguments);
        let server = Server::start_with(&ETCD, &all).await?;
        let address = server.address().parse()?;
        let etcd = Self {
            server,
            address,
            guarded,
        };
        if guarded {
            etcd.guard().await?;
        }
        Ok(etcd)
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url(&self, via: SocketAddr, namespace: &str) -> String {
        if self.guarded {
            format!("etcd://{USER}:{PASSWORD}@{via}{namespace}")
        } else {
            format!("etcd://{via}{namespace}")
        }
    }

    fn observer_url(&self, namespace: &str) -> String {
        let address = self.address();
        if self.guarded {
            format!("etcd://{ROOT}:{ROOT}@{address}{namespace}")
        } else {
            format!("etcd://{address}{namespace}")
        }
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
        let key = Prefix::new(namespace)?.key(key);
        let deleted = self
            .admin()
            .await?
            .delete(key.clone(), None)
            .await?
            .deleted();
        crate::ensure(deleted == 1, || {
            format!("{key} was not there to be deleted")
        })
    }

    async fn end_lease(&self, namespace: &str, key: &InstanceKey) -> Result<()> {
        let key = Prefix::new(namespace)?.key(key);
        let mut admin = self.admin().await?;
        let found = admin.get(key.clone(), None).await?;
        let record = found
            .kvs()
            .first()
            .ok_or_else(|| format!("{key} is not there"))?;
        self.revoke(record.lease()).await
    }

    async fn writes(&self) -> Result<u64> {
        let status = self.admin().await?.status().await?;
        let header = status.header().ok_or("a status without a header")?;
        Ok(header.revision().try_into()?)
    }

    fn numbers(&self, namespace: &str, history: History) -> Option<Numbers> {
        Numbers::start(self.address, namespace, service(), history).ok()
    }
}

impl Etcd {
    /// A client that may do everything, past every proxy.
    async fn admin(&self) -> Result<Client> {
        let mut options = ConnectOptions::new().with_timeout(Duration::from_secs(5));
        if self.guarded {
            options = options.with_user(ROOT, ROOT);
        }
        Ok(Client::connect([self.address().to_string()], Some(options)).await?)
    }

    /// Demands passwords from now on.
    async fn guard(&self) -> Result<()> {
        let address = self.address().to_string();
        let mut client = Client::connect([address], None).await?;
        client.user_add(ROOT, ROOT, None).await?;
        client.role_add(ROOT).await?;
        client.user_grant_role(ROOT, ROOT).await?;
        client.user_add(USER, PASSWORD, None).await?;
        client.role_add(USER).await?;
        client.role_grant_permission(USER, permission()).await?;
        client.user_grant_role(USER, USER).await?;
        client.auth_enable().await?;
        Ok(())
    }

    /// Writes `count` good records of about `bytes` under one lease, which it returns.
    pub(crate) async fn plant(
        &self,
        namespace: &str,
        service: &str,
        count: usize,
        bytes: usize,
    ) -> Result<i64> {
        let prefix = Prefix::new(namespace)?;
        let batch = fastrand::u16(..);
        let instances = (0..count).map(|place| planted(service, batch, place, bytes));
        let instances = instances.collect::<Result<Vec<_>>>()?;
        let records = instances.iter().map(|instance| {
            let key = prefix.key(&instance.key());
            (key, codec::encode(instance))
        });
        plant_raw(&mut self.admin().await?, records).await
    }

    /// Writes `count` values of `bytes` that are no records, under one lease, which it returns.
    pub(crate) async fn plant_hostile(
        &self,
        namespace: &str,
        service: &str,
        count: usize,
        bytes: usize,
    ) -> Result<i64> {
        let service = Prefix::new(namespace)?.service(&ServiceName::new(service)?);
        let records =
            (0..count).map(|place| (format!("{service}hostile-{place}"), vec![b'['; bytes]));
        plant_raw(&mut self.admin().await?, records).await
    }

    /// Ends a lease: everything under it goes in one step.
    pub(crate) async fn revoke(&self, lease: i64) -> Result<()> {
        self.admin().await?.lease_revoke(lease).await?;
        Ok(())
    }

    /// Forgets all history up to now.
    pub(crate) async fn compact(&self) -> Result<()> {
        let mut admin = self.admin().await?;
        let status = admin.status().await?;
        let revision = status
            .header()
            .ok_or("a status without a header")?
            .revision();
        let options = CompactionOptions::new().with_physical();
        admin.compact(revision, Some(options)).await?;
        Ok(())
    }

    /// Takes the right to read and write from the user's role, or gives it back.
    pub(crate) async fn permit(&self, permitted: bool) -> Result<()> {
        let mut admin = self.admin().await?;
        if permitted {
            admin.role_grant_permission(USER, permission()).await?;
        } else {
            let options = RoleRevokePermissionOptions::new().with_range_end(HOUSES_END);
            admin
                .role_revoke_permission(USER, HOUSES, Some(options))
                .await?;
        }
        Ok(())
    }

    /// Takes the role from the user, or gives it back.
    pub(crate) async fn enrol(&self, enrolled: bool) -> Result<()> {
        let mut admin = self.admin().await?;
        if enrolled {
            admin.user_grant_role(USER, USER).await?;
        } else {
            admin.user_revoke_role(USER, USER).await?;
        }
        Ok(())
    }

    /// Changes the user's password at the server; nobody else learns of it.
    pub(crate) async fn set_password(&self, password: &str) -> Result<()> {
        let mut admin = self.admin().await?;
        admin.user_change_password(USER, password).await?;
        Ok(())
    }

    /// Adds a user that nobody uses, which makes older tokens suspect.
    pub(crate) async fn add_user(&self) -> Result<()> {
        let name = format!("u{:08x}", fastrand::u32(..));
        self.admin().await?.user_add(name, "x", None).await?;
        Ok(())
    }

    /// How many logins the server was asked for since it started.
    pub(crate) async fn logins(&self) -> Result<u64> {
        let metrics = crate::impostor::get(self.address(), "/metrics").await?;
        let of_login = |line: &&str| {
            line.starts_with("grpc_server_started_total") && line.contains("\"Authenticate\"")
        };
        let line = metrics.lines().find(of_login);
        let count = line
            .and_then(|line| line.rsplit_once(' '))
            .map(|(_, count)| count);
        Ok(count.unwrap_or("0").parse::<f64>()? as u64)
    }
}

fn permission() -> Permission {
    Permission::new(PermissionType::Readwrite, HOUSES).with_range_end(HOUSES_END)
}

fn planted(service: &str, batch: u16, place: usize, bytes: usize) -> Result<Instance> {
    let id = NodeId::new(&format!("planted-{batch:04x}-{place:03}"))?;
    let address = Address::new(&format!("127.0.0.1:{}", 21_000 + place))?;
    let mut node = Node::new(id, address);
    for pair in 0..bytes.div_ceil(4000) {
        node = node.with_metadata(format!("filler-{pair:02}"), "x".repeat(4000));
    }
    Ok(Instance::new(ServiceName::new(service)?, node).with_version("1"))
}
