//! A real server as a subject of the house's one suite.

use std::sync::Arc;

use etcd_client::{Client, DeleteOptions, Txn, TxnOp};
use waypost_core::{Error, Instance, Origin, Profile, Registry, Result, Target};
use waypost_etcd::DRIVER;
use waypost_plugin_kit::codec;
use waypost_plugin_kit::layout::Prefix;
use waypost_testkit::containers::Server;
use waypost_testkit::proxy::Proxies;
use waypost_testkit::{Cut, Missing, Planted, Subject, async_trait};

pub(crate) struct Etcd {
    /// Clients under test go through a proxy a namespace.
    proxies: Proxies,
    /// What reaches behind their backs does not.
    client: Client,
    /// What ends with us, where it is nobody else's.
    _server: Option<Server>,
}

#[async_trait]
impl Subject for Etcd {
    fn profile(&self) -> Profile {
        DRIVER.profile
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        let url = format!(
            "etcd://{}/{namespace}",
            self.proxies.address(namespace).await?
        );
        (DRIVER.connect)(Target::parse(&url, None, Origin::Code)?).await
    }

    async fn plant(
        &self,
        namespace: &str,
        service: &str,
        node: &str,
        bytes: &[u8],
    ) -> Result<Planted> {
        let put = TxnOp::put(format!("/{namespace}/{service}/{node}"), bytes, None);
        self.write(Txn::new().and_then([put])).await
    }

    async fn fill(&self, namespace: &str, instances: &[Instance]) -> Result<Planted> {
        let prefix = Prefix::new(namespace)?;
        // One transaction may not write a key twice, so what is not kept is deleted around it.
        let mut keys: Vec<_> = instances.iter().map(|one| prefix.key(&one.key())).collect();
        keys.sort();
        let mut operations = Vec::new();
        let mut from = prefix.all();
        for key in &keys {
            operations.push(range_delete(from, key.clone()));
            from = format!("{key}\0");
        }
        operations.push(range_delete(from, format!("/{namespace}0")));
        operations.extend(
            instances
                .iter()
                .map(|one| TxnOp::put(prefix.key(&one.key()), codec::encode(one), None)),
        );
        self.write(Txn::new().and_then(operations)).await
    }

    async fn cut(&self, namespace: &str, cut: Cut) -> Result<Planted> {
        Ok(self.proxies.cut(namespace, cut))
    }

    async fn mend(&self, namespace: &str) -> Result<()> {
        self.proxies.mend(namespace);
        Ok(())
    }
}

fn range_delete(from: String, end: String) -> TxnOp {
    TxnOp::delete(from, Some(DeleteOptions::new().with_range(end)))
}

impl Etcd {
    pub(crate) async fn at(address: String, server: Option<Server>) -> Result<Self, Missing> {
        let client = Client::connect([&address], None).await;
        Ok(Self {
            client: client.map_err(|error| Missing::new(error.to_string()))?,
            proxies: Proxies::new(address),
            _server: server,
        })
    }

    async fn write(&self, txn: Txn) -> Result<Planted> {
        match self.client.kv_client().txn(txn).await {
            Ok(_) => Ok(Planted::Done),
            Err(error) => Err(Error::unavailable(error.to_string())),
        }
    }
}
