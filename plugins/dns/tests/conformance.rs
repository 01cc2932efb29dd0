//! The house's one suite, on a real server: a subdomain a namespace, its services listed with all
//! that DNS has room for.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::Mutex;
use waypost_core::{Error, Instance, Origin, Profile, Registry, Result, Target};
use waypost_dns::DRIVER;
use waypost_testkit::containers::dns::{Data, Update, ZONE, dns_address};
use waypost_testkit::proxy::Proxies;
use waypost_testkit::{Cut, Planted, Subject, async_trait, main as run};

/// Records are believed for so many seconds.
const TTL: u16 = 1;

struct Dns {
    address: String,
    /// Clients under test go through a proxy a namespace.
    proxies: Proxies,
    /// The names below each namespace.
    names: Mutex<HashMap<String, BTreeSet<String>>>,
}

#[async_trait]
impl Subject for Dns {
    fn profile(&self) -> Profile {
        DRIVER.profile
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        self.begin(namespace).await?;
        let address = self.proxies.address(namespace).await?;
        let url = format!("dns://{address}/{namespace}.{ZONE}");
        (DRIVER.connect)(Target::parse(&url, None, Origin::Code)?).await
    }

    async fn fill(&self, namespace: &str, instances: &[Instance]) -> Result<Planted> {
        if instances.iter().any(|one| !one.endpoints.is_empty()) {
            return Ok(Planted::Unsupported("DNS records tell of no endpoints"));
        }
        let mut all = self.names.lock().await;
        let names = all.entry(namespace.to_owned()).or_default();
        let mut update = Update::new();
        names.iter().for_each(|name| update.remove(name));
        *names = BTreeSet::new();
        let mut add = |name: &str, data: &Data| {
            update.add(name, TTL, data);
            names.insert(name.to_owned());
        };
        let list = list(namespace);
        add(&list, &mark());
        for (number, instance) in instances.iter().enumerate() {
            for (name, data) in records(namespace, number, instance)? {
                add(&name, &data);
            }
        }
        update.send(&self.address).await?;
        Ok(Planted::Done)
    }

    async fn cut(&self, namespace: &str, cut: Cut) -> Result<Planted> {
        Ok(self.proxies.cut(namespace, cut))
    }

    async fn mend(&self, namespace: &str) -> Result<()> {
        self.proxies.mend(namespace);
        Ok(())
    }
}

impl Dns {
    /// An empty namespace is one that lists no service; one that does not exist has no list.
    async fn begin(&self, namespace: &str) -> Result<()> {
        let mut all = self.names.lock().await;
        if all.contains_key(namespace) {
            return Ok(());
        }
        let list = list(namespace);
        let mut update = Update::new();
        update.add(&list, TTL, &mark());
        update.send(&self.address).await?;
        all.insert(namespace.to_owned(), BTreeSet::from([list]));
        Ok(())
    }
}

/// Where a namespace lists its services.
fn list(namespace: &str) -> String {
    format!("_services._dns-sd._udp.{namespace}.{ZONE}")
}

fn mark() -> Data {
    Data::Txt(vec![b"a namespace of tests".to_vec()])
}

/// The records of one instance, as DNS-SD has them.
fn records(namespace: &str, number: usize, instance: &Instance) -> Result<Vec<(String, Data)>> {
    let kind = format!("_{}._tcp.{namespace}.{ZONE}", instance.service);
    let name = format!("{}.{kind}", instance.node.id);
    let target = format!("n{number}.{namespace}.{ZONE}");
    let address = &instance.node.address;
    let ip = address.host().parse();
    let host = match ip.map_err(|_| Error::unavailable("the suite's nodes have IP addresses"))? {
        IpAddr::V4(ip) => Data::A(ip),
        IpAddr::V6(ip) => Data::Aaaa(ip),
    };
    let mut texts = vec![format!("version={}", instance.version)];
    texts.extend(
        instance
            .metadata
            .iter()
            .map(|(key, value)| format!("service.{key}={value}")),
    );
    texts.extend(
        instance
            .node
            .metadata
            .iter()
            .map(|(key, value)| format!("{key}={value}")),
    );
    let srv = Data::Srv {
        priority: 0,
        weight: 0,
        port: address.port(),
        target: target.clone(),
    };
    Ok(vec![
        (list(namespace), Data::Ptr(kind.clone())),
        (kind, Data::Ptr(name.clone())),
        (name.clone(), srv),
        (
            name,
            Data::Txt(texts.into_iter().map(String::into_bytes).collect()),
        ),
        (target, host),
    ])
}

fn main() -> ExitCode {
    run(async || {
        let address = dns_address().await?;
        Ok(Dns {
            proxies: Proxies::new(&address).with_datagrams(),
            address,
            names: Mutex::default(),
        })
    })
}
