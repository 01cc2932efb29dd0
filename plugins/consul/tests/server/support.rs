//! Agents, clients and records for the laws.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use waypost_consul::DRIVER;
use waypost_core::{
    Address, BoxWatcher, Event, Instance, Lease, Node, NodeId, Origin, RegisterOptions, Registry,
    Result, ServiceName, Target, WatchScope,
};
use waypost_testkit::Missing;
use waypost_testkit::containers::{Recipe, Server, consul_address};

/// Longest time that anything may take which is to happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// The agent that laws share. Each uses service names of its own.
pub(crate) async fn shared() -> Result<String, Missing> {
    consul_address().await
}

/// An agent for one law alone, with extra settings.
pub(crate) async fn own_agent(recipe: &Recipe, settings: &str) -> Result<Server, Missing> {
    let settings = format!("-hcl={settings}");
    let arguments = ["-dev", "-log-level=warn", "-client=0.0.0.0", &settings];
    Server::start_with(recipe, &arguments).await
}

/// The agent's own API.
pub(crate) struct Raw {
    client: Client,
    base: String,
    token: &'static str,
}

impl Raw {
    pub(crate) fn new(address: &str, token: &'static str) -> Self {
        Self {
            client: Client::new(),
            base: format!("http://{address}/v1"),
            token,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Value {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = self.client.request(method, format!("{}/{path}", self.base));
        let mut request = request.header("x-consul-token", self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Makes a token with these rules.
    pub(crate) async fn token(&self, name: &str, rules: &str) -> String {
        let policy = serde_json::json!({"Name": name, "Rules": rules});
        self.put("acl/policy", policy).await;
        let body = serde_json::json!({"Policies": [{"Name": name}]});
        let token = self.put("acl/token", body).await;
        token["SecretID"].as_str().expect("a token").to_owned()
    }
}

pub(crate) async fn open(url: &str) -> Arc<dyn Registry> {
    try_open(url).await.expect(url)
}

pub(crate) async fn try_open(url: &str) -> Result<Arc<dyn Registry>> {
    (DRIVER.connect)(Target::parse(url, None, Origin::Code)?).await
}

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

pub(crate) fn instance(service: &str, number: usize) -> Instance {
    let id = NodeId::new(&format!("{service}-{number}")).expect("an id");
    let address = Address::new("10.0.0.1:8080").expect("an address");
    Instance::new(name(service), Node::new(id, address)).with_version("1.0.0")
}

pub(crate) async fn register(registry: &dyn Registry, instance: &Instance) -> Box<dyn Lease> {
    let options = RegisterOptions::new(Duration::from_secs(30));
    let registered = registry.register(instance, options).await;
    registered.expect("a lease")
}

pub(crate) async fn watch(registry: &dyn Registry, scope: impl Into<WatchScope>) -> BoxWatcher {
    registry.watch(scope.into()).await.expect("a watcher")
}

/// The next event that says something new.
pub(crate) async fn news(watcher: &mut BoxWatcher) -> Result<Event> {
    let next = async {
        loop {
            match watcher.next().await.expect("an open watch") {
                Ok(Event::Confirmed) => {}
                event => return event,
            }
        }
    };
    timeout(SOON, next).await.expect("news soon")
}

/// The first event of a watch.
pub(crate) async fn snapshot(watcher: &mut BoxWatcher) -> Vec<Arc<Instance>> {
    let first = news(watcher).await.expect("a first event");
    assert!(matches!(first, Event::Snapshot(_)), "{first:?}");
    match first {
        Event::Snapshot(all) => all,
        _ => Vec::new(),
    }
}

/// Waits until `holds`.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < SOON, "not within {SOON:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
