//! A real server as a subject of the house's one suite.

use std::sync::Arc;

use waypost_core::{Error, Instance, Origin, Profile, Registry, Result, Target};
use waypost_plugin_kit::codec;
use waypost_plugin_kit::layout::Prefix;
use waypost_testkit::containers::Server;
use waypost_testkit::proxy::Proxies;
use waypost_testkit::{Cut, Missing, Planted, Subject, async_trait};
use waypost_zookeeper::DRIVER;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error as Told};

/// As go-micro creates: a znode that is nobody's, and anybody's.
const PERSISTENT: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

pub(crate) struct Zookeeper {
    /// Clients under test go through a proxy a namespace.
    proxies: Proxies,
    /// What reaches behind their backs does not.
    client: Client,
    /// Options of the clients under test.
    query: &'static str,
    profile: Profile,
    /// What ends with us, where it is nobody else's.
    _server: Option<Server>,
}

impl Zookeeper {
    pub(crate) async fn at(
        address: String,
        query: &'static str,
        server: Option<Server>,
    ) -> Result<Self, Missing> {
        let connector = Client::connector().with_server_version(3, 4, 0);
        let client = connector.connect(&address).await;
        let url = format!("zookeeper://{address}?{query}");
        let registry = (DRIVER.connect)(Target::parse(&url, None, Origin::Code)?).await?;
        Ok(Self {
            client: client.map_err(|error| Missing::new(error.to_string()))?,
            proxies: Proxies::new(address),
            query,
            profile: *registry.profile(),
            _server: server,
        })
    }

    async fn replace_all(&self, prefix: &Prefix, instances: &[Instance]) -> Result<(), Told> {
        let mut writer = self.client.new_multi_writer();
        let mut services: Vec<_> = instances.iter().map(|one| &one.service).collect();
        services.dedup();
        for service in services {
            let directory = prefix.service(service);
            let directory = directory.trim_end_matches('/');
            self.client.mkdir(directory, &PERSISTENT).await?;
            for node in self.client.list_children(directory).await? {
                writer.add_delete(&format!("{directory}/{node}"), None)?;
            }
        }
        for one in instances {
            writer.add_create(&prefix.key(&one.key()), &codec::encode(one), &PERSISTENT)?;
        }
        writer.commit().await?;
        Ok(())
    }
}

#[async_trait]
impl Subject for Zookeeper {
    fn profile(&self) -> Profile {
        self.profile
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        let (address, query) = (self.proxies.address(namespace).await?, self.query);
        let url = format!("zookeeper://{address}/{namespace}?{query}");
        (DRIVER.connect)(Target::parse(&url, None, Origin::Code)?).await
    }

    async fn plant(
        &self,
        namespace: &str,
        service: &str,
        node: &str,
        bytes: &[u8],
    ) -> Result<Planted> {
        let directory = format!("/{namespace}/{service}");
        let path = format!("{directory}/{node}");
        let planted = async {
            self.client.mkdir(&directory, &PERSISTENT).await?;
            match self.client.create(&path, bytes, &PERSISTENT).await {
                Err(Told::NodeExists) => self.client.set_data(&path, bytes, None).await.map(drop),
                result => result.map(drop),
            }
        };
        done(planted.await)
    }

    async fn fill(&self, namespace: &str, instances: &[Instance]) -> Result<Planted> {
        let prefix = Prefix::new(namespace)?;
        done(self.replace_all(&prefix, instances).await)
    }

    async fn cut(&self, namespace: &str, cut: Cut) -> Result<Planted> {
        Ok(self.proxies.cut(namespace, cut))
    }

    async fn mend(&self, namespace: &str) -> Result<()> {
        self.proxies.mend(namespace);
        Ok(())
    }
}

fn done(result: Result<(), Told>) -> Result<Planted> {
    match result {
        Ok(()) => Ok(Planted::Done),
        Err(error) => Err(Error::unavailable(error.to_string())),
    }
}
