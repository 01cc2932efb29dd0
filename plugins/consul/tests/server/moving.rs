//! A lease whose agent dies, and the agent's return: one server, two agents.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use waypost_core::{Registration, RegistrationOptions, Registry};
use waypost_testkit::containers::{CONSUL, Server};
use waypost_testkit::{Kept, Missing, laws};

use crate::support::{Raw, SOON, instance, name, open, register, until};

laws! {
    a_dead_agents_record_is_registered_at_the_next,
    a_frozen_agents_record_moves_and_its_copy_goes_when_it_is_back,
    what_moved_is_released_for_good,
}

const TTL: Duration = Duration::from_secs(5);
const AT_ETH0: &str = "-bind={{ GetInterfaceIP \"eth0\" }}";
const FAST: &str = "-hcl=performance { raft_multiplier = 1 }";

/// One server and two agents that keep their data.
struct Datacenter {
    server: Server,
    agents: [Server; 2],
}

impl Datacenter {
    async fn open() -> Result<Self, Missing> {
        let all = ["-client=0.0.0.0", "-log-level=warn", AT_ETH0, FAST];
        let server = [
            &all[..],
            &["-server", "-bootstrap-expect=1", "-node=server"],
        ]
        .concat();
        let server = Server::start_with(&CONSUL, &server).await?;
        let told = Raw::new(&server.address(), "").get("agent/self").await;
        let address = told["Member"]["Addr"].as_str().expect("its address");
        let join = format!("-retry-join={address}");
        let agent = async |node: &str| {
            let arguments = [&all[..], &[join.as_str(), "-retry-interval=1s", node]].concat();
            Server::start_with(&CONSUL, &arguments).await
        };
        let (first, second) = tokio::join!(agent("-node=agent-1"), agent("-node=agent-2"));
        Ok(Self {
            server,
            agents: [first?, second?],
        })
    }

    /// A client of both agents, which asks the first one first.
    async fn both(&self) -> Arc<dyn Registry> {
        let [first, second] = &self.agents;
        open(&format!(
            "consul://{},{}",
            first.address(),
            second.address()
        ))
        .await
    }

    async fn reader(&self) -> Arc<dyn Registry> {
        open(&format!("consul://{}", self.server.address())).await
    }

    /// The machines that have a record of the service which nothing speaks against: what a reader
    /// that knows nothing of owners takes for live.
    async fn machines(&self, service: &str) -> BTreeSet<String> {
        let raw = Raw::new(&self.server.address(), "");
        let path = format!("health/service/{service}?passing=1");
        let all = raw.get(&path).await;
        let all = all.as_array().expect("a list");
        let machine = |one: &Value| one["Node"]["Node"].as_str().expect("a name").to_owned();
        all.iter().map(machine).collect()
    }
}

fn only(machine: &str) -> BTreeSet<String> {
    BTreeSet::from([machine.to_owned()])
}

/// What a reader saw while something happened.
#[derive(Debug, Default)]
struct Sights {
    /// The longest time without the record.
    absence: Duration,
    looks: usize,
}

/// Looks the service up until `over`; there is one record at most, at any time.
async fn look(reader: &dyn Registry, service: &str, over: impl Future<Output = ()>) -> Sights {
    tokio::pin!(over);
    let mut sights = Sights::default();
    let mut last = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = &mut over => return sights,
            () = sleep(Duration::from_millis(50)) => {}
        }
        let all = reader.lookup(&name(service)).await.expect("an answer");
        assert!(all.len() < 2, "{all:?}");
        sights.looks += 1;
        if all.len() == 1 {
            last = Instant::now();
        }
        sights.absence = sights.absence.max(last.elapsed());
    }
}

fn keep(registry: &Arc<dyn Registry>, service: &str) -> Registration {
    let options = RegistrationOptions::new().with_ttl(TTL);
    let one = instance(service, 1);
    Registration::start(Arc::clone(registry), one, options).expect("a registration")
}

async fn a_dead_agents_record_is_registered_at_the_next() -> Kept {
    let datacenter = Datacenter::open().await?;
    let (both, reader) = (datacenter.both().await, datacenter.reader().await);
    let kept = keep(&both, "moved");
    until("at the first", async || {
        datacenter.machines("moved").await == only("agent-1")
    })
    .await;
    sleep(TTL).await;
    datacenter.agents[0].kill().await.expect("killed");
    let begun = Instant::now();
    let moved = async {
        until("at the second alone", async || {
            datacenter.machines("moved").await == only("agent-2")
        })
        .await;
        assert!(begun.elapsed() <= TTL, "{:?}", begun.elapsed());
        sleep(2 * TTL).await;
    };
    let sights = look(&*reader, "moved", moved).await;
    assert!(sights.looks > 30, "{sights:?}");
    // As with any record that is written in another's place: nobody misses it.
    assert!(sights.absence < Duration::from_secs(1), "{sights:?}");

    // The former agent has its data, and they say that the record is its.
    let back = async {
        datacenter.agents[0].revive().await.expect("revived");
        let former = Raw::new(&datacenter.agents[0].address(), "");
        until("the former copy is gone", async || {
            former.get("agent/services").await.get("moved-1").is_none()
        })
        .await;
        until("one record", async || {
            datacenter.machines("moved").await == only("agent-2")
        })
        .await;
    };
    let sights = look(&*reader, "moved", back).await;
    assert!(sights.absence < Duration::from_secs(1), "{sights:?}");
    kept.release().await.expect("released");
    assert!(
        reader
            .lookup(&name("moved"))
            .await
            .expect("none")
            .is_empty()
    );
    Ok(())
}

async fn a_frozen_agents_record_moves_and_its_copy_goes_when_it_is_back() -> Kept {
    let datacenter = Datacenter::open().await?;
    let (both, reader) = (datacenter.both().await, datacenter.reader().await);
    let kept = keep(&both, "frozen");
    until("at the first", async || {
        datacenter.machines("frozen").await == only("agent-1")
    })
    .await;
    datacenter.agents[0].pause().await.expect("paused");
    let begun = Instant::now();
    let moved = async {
        until("at the second alone", async || {
            datacenter.machines("frozen").await == only("agent-2")
        })
        .await;
        assert!(begun.elapsed() <= TTL, "{:?}", begun.elapsed());
        // Back before the copy has expired there.
        datacenter.agents[0].unpause().await.expect("unpaused");
        let former = Raw::new(&datacenter.agents[0].address(), "");
        until("the former copy is gone", async || {
            former.get("agent/services").await.get("frozen-1").is_none()
        })
        .await;
        until("one record", async || {
            datacenter.machines("frozen").await == only("agent-2")
        })
        .await;
        sleep(TTL).await;
    };
    let sights = look(&*reader, "frozen", moved).await;
    assert!(sights.absence < Duration::from_secs(1), "{sights:?}");
    assert_eq!(datacenter.machines("frozen").await, only("agent-2"));
    kept.release().await.expect("released");
    Ok(())
}

/// The former agent is back with a copy that has not expired, and nobody renews it: the end of the
/// record is the end of both.
async fn what_moved_is_released_for_good() -> Kept {
    let datacenter = Datacenter::open().await?;
    let (both, reader) = (datacenter.both().await, datacenter.reader().await);
    let mut lease = register(&*both, &instance("final", 1)).await;
    datacenter.agents[0].pause().await.expect("paused");
    lease.renew().await.expect("moved");
    datacenter.agents[0].unpause().await.expect("unpaused");
    lease.revoke().await.expect("revoked");
    let begun = Instant::now();
    let former = Raw::new(&datacenter.agents[0].address(), "");
    until("the former copy is gone", async || {
        former.get("agent/services").await.get("final-1").is_none()
    })
    .await;
    assert!(begun.elapsed() < SOON);
    for _ in 0..20 {
        let all = reader.lookup(&name("final")).await.expect("an answer");
        assert!(all.is_empty(), "{all:?}");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
