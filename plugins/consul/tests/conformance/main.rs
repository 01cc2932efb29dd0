//! The house's one suite, on a real agent.

mod behind;
mod spaced;

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::future::join_all;
use waypost_consul::DRIVER;
use waypost_core::{Instance, Origin, Profile, Registry, Result, Target};
use waypost_testkit::containers::{CONSUL, Server, consul_address};
use waypost_testkit::proxy::Proxies;
use waypost_testkit::{Cut, Planted, Subject, async_trait, main as run};

use self::behind::Behind;
use self::spaced::Spaced;

/// Agents that share the cases: one alone takes 50 registrations a second, and every change at it
/// wakes every watch of all.
const AGENTS: usize = 8;

/// Serves at once, in memory alone.
const QUICK: &[&str] = &[
    "-dev",
    "-log-level=warn",
    "-client=0.0.0.0",
    "-hcl=limits { http_max_conns_per_client = 4000 }",
];

/// Each namespace has one agent.
struct Consul(Vec<One>);

struct One {
    /// Clients under test go through a proxy a namespace.
    proxies: Proxies,
    /// What reaches behind their backs does not.
    behind: Behind,
    /// What ends with us; the first agent may be somebody else's.
    _server: Option<Server>,
}

impl One {
    fn new(address: String, server: Option<Server>) -> Self {
        Self {
            behind: Behind::new(&address),
            proxies: Proxies::new(address),
            _server: server,
        }
    }
}

impl Consul {
    fn of(&self, namespace: &str) -> &One {
        let sum: usize = namespace.bytes().map(usize::from).sum();
        &self.0[sum % self.0.len()]
    }
}

#[async_trait]
impl Subject for Consul {
    fn profile(&self) -> Profile {
        DRIVER.profile
    }

    async fn open(&self, namespace: &str) -> Result<Arc<dyn Registry>> {
        let address = self.of(namespace).proxies.address(namespace).await?;
        // Not to follow the cases beside it as well.
        let only = spaced::name(namespace, "");
        let url = format!("consul://{address}?only={only}");
        let inner = (DRIVER.connect)(Target::parse(&url, None, Origin::Code)?).await?;
        Ok(Arc::new(Spaced::new(inner, namespace)))
    }

    async fn plant(
        &self,
        namespace: &str,
        service: &str,
        node: &str,
        bytes: &[u8],
    ) -> Result<Planted> {
        let (service, node) = (
            spaced::name(namespace, service),
            spaced::name(namespace, node),
        );
        self.of(namespace)
            .behind
            .plant(&service, &node, bytes)
            .await
    }

    async fn fill(&self, namespace: &str, instances: &[Instance]) -> Result<Planted> {
        let inside = |instance| spaced::inside(namespace, instance);
        let instances: Vec<_> = instances.iter().map(inside).collect::<Result<_>>()?;
        self.of(namespace).behind.fill(namespace, &instances).await
    }

    async fn cut(&self, namespace: &str, cut: Cut) -> Result<Planted> {
        Ok(self.of(namespace).proxies.cut(namespace, cut))
    }

    async fn mend(&self, namespace: &str) -> Result<()> {
        self.of(namespace).proxies.mend(namespace);
        Ok(())
    }
}

fn main() -> ExitCode {
    run(async || {
        let mut all = vec![One::new(consul_address().await?, None)];
        // Without Docker the one that the environment names has to do.
        for server in join_all((1..AGENTS).map(|_| Server::start_with(&CONSUL, QUICK))).await {
            all.extend(server.map(|server| One::new(server.address(), Some(server))));
        }
        Ok(Consul(all))
    })
}
