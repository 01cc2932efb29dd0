//! Requests to agents: one pool of connections a registry, bounded in number, time and size.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, Url};
use tokio::sync::Semaphore;
use waypost_core::{Error, ErrorKind, Result};

use crate::answer::Answer;
use crate::client;
use crate::config::Config;
use crate::error::{self, Fault, How};

/// Short requests at once, and so the connections that they take over HTTP/1.1.
const SHORT_AT_ONCE: usize = 8;

/// The agents of a target, and what is needed to ask them.
#[derive(Debug)]
pub(crate) struct Agents {
    client: Client,
    bases: Vec<Url>,
    /// Whom errors name: `host:port` of each agent.
    peers: Vec<Arc<str>>,
    /// Whether we show a certificate; nothing where TLS is not spoken.
    shows: Option<bool>,
    /// Whether any of them ever answered: what closes connections then has no quarrel with our
    /// certificate.
    answered: AtomicBool,
    /// The agent that is asked first: the one that answered last.
    current: AtomicUsize,
    turns: Semaphore,
    /// For the one large answer that is read at a time.
    large: Semaphore,
    timeout: Duration,
    wait: Duration,
}

/// One agent. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    agents: Arc<Agents>,
    number: usize,
}

/// What to block on.
#[derive(Debug, Clone, Default)]
pub(crate) enum Since {
    /// Nothing: the answer comes at once.
    #[default]
    Now,
    Index(u64),
    Hash(String),
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    method: Method,
    path: &'a str,
    name: Option<&'a str>,
    query: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl<'a> Request<'a> {
    fn new(method: Method, path: &'a str, name: Option<&'a str>) -> Self {
        Self {
            method,
            path,
            name,
            query: Vec::new(),
            body: None,
        }
    }

    /// `GET /v1/<path>/<name>`; the name is percent-encoded once, here.
    pub(crate) fn get(path: &'a str, name: Option<&'a str>) -> Self {
        Self::new(Method::GET, path, name)
    }

    pub(crate) fn put(path: &'a str, name: Option<&'a str>) -> Self {
        Self::new(Method::PUT, path, name)
    }

    pub(crate) fn post(path: &'a str) -> Self {
        Self::new(Method::POST, path, None)
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(crate) fn json(mut self, body: &impl serde::Serialize) -> Self {
        // Writing to a vector cannot fail, and all keys of our bodies are texts.
        self.body = Some(serde_json::to_vec(body).unwrap_or_default());
        self
    }
}

impl Agents {
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let scheme = if config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let bases = config.addresses.iter().map(|address| {
            Url::parse(&format!("{scheme}://{address}/")).map_err(|error| {
                Error::config(format!("registry address {address:?} is none")).with_source(error)
            })
        });
        Ok(Self {
            client: client::open(config, SHORT_AT_ONCE)?,
            bases: bases.collect::<Result<_>>()?,
            peers: config.addresses.iter().map(|a| a.as_str().into()).collect(),
            shows: config.tls.as_ref().map(|tls| tls.identity.is_some()),
            answered: AtomicBool::new(false),
            current: AtomicUsize::new(0),
            turns: Semaphore::new(SHORT_AT_ONCE),
            large: Semaphore::new(1),
            timeout: config.timeout,
            wait: config.wait,
        })
    }

    fn agent(self: &Arc<Self>, number: usize) -> Agent {
        Agent {
            agents: Arc::clone(self),
            number,
        }
    }

    /// All agents, the one that answered last first.
    pub(crate) fn all(self: &Arc<Self>) -> impl Iterator<Item = Agent> + use<'_> {
        let (first, count) = (self.current.load(Ordering::Relaxed), self.bases.len());
        (0..count).map(move |step| self.agent((first + step) % count))
    }

    /// Asks one agent after the other until one can answer, if only with a refusal.
    pub(crate) async fn any<T, F>(self: &Arc<Self>, ask: impl Fn(Agent) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut failed = None;
        for agent in self.all() {
            let number = agent.number;
            // Whoever gives up on a silent agent leaves it to nobody else.
            let leaving = Leaving(self, number);
            let outcome = ask(agent).await;
            leaving.not();
            match outcome {
                Err(error) if error::is_agents_own(&error) => {
                    failed.get_or_insert(error);
                }
                outcome => {
                    self.current.store(number, Ordering::Relaxed);
                    return outcome;
                }
            }
        }
        Err(failed.unwrap_or_else(|| Error::new(ErrorKind::Internal, "there is no agent to ask")))
    }

    /// Whether there is another agent to go to.
    pub(crate) fn are_several(&self) -> bool {
        self.bases.len() > 1
    }

    fn leave(&self, number: usize) {
        let next = (number + 1) % self.bases.len();
        // Only if nobody else has moved on meanwhile.
        let _ = self
            .current
            .compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Leaves an agent when it is dropped.
struct Leaving<'a>(&'a Agents, usize);

impl Leaving<'_> {
    fn not(self) {
        std::mem::forget(self);
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl Agent {
    /// Whether both are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.number == other.number
    }

    /// Whom errors name: its `host:port`.
    pub(crate) fn peer(&self) -> &str {
        &self.agents.peers[self.number]
    }

    /// Longest that a blocking query blocks.
    pub(crate) fn wait(&self) -> Duration {
        self.agents.wait
    }

    /// This agent failed a query that it held; others begin at the next one.
    pub(crate) fn leave(&self) {
        self.agents.leave(self.number);
    }

    /// Sends a short request and takes any answer.
    ///
    /// # Cancel safety
    /// A dropped request may or may not have been carried out.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer, Fault> {
        // Never closed: it lives and dies with `agents`.
        let _turn = self.agents.turns.acquire().await;
        self.exchange(request, self.agents.timeout).await
    }

    /// Sends a short request; anything but 200 is a fault.
    ///
    /// # Cancel safety
    /// A dropped request may or may not have been carried out.
    pub(crate) async fn ask(&self, request: Request<'_>) -> Result<Answer, Fault> {
        self.send(request).await?.good()
    }

    /// Sends a query that blocks until something has changed `since`, `wait` at the longest;
    /// anything but 200 is a fault.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn block(
        &self,
        request: Request<'_>,
        since: &Since,
        wait: Duration,
    ) -> Result<Answer, Fault> {
        let (key, value) = match since {
            Since::Now => return self.ask(request).await,
            Since::Index(index) => ("index", index.to_string()),
            Since::Hash(hash) => ("hash", hash.clone()),
        };
        let request = request
            .with(key, value)
            .with("wait", format!("{}ms", wait.as_millis()));
        // The agent adds up to a sixteenth, so that its clients do not return all at once.
        let limit = wait + wait / 16 + self.agents.timeout;
        self.exchange(request, limit).await?.good()
    }

    async fn exchange(&self, request: Request<'_>, limit: Duration) -> Result<Answer, Fault> {
        let url = self.url(&request);
        let mut builder = self.agents.client.request(request.method, url);
        builder = builder.timeout(limit);
        if let Some(body) = request.body {
            builder = builder
                .header("content-type", "application/json")
                .body(body);
        }
        let peer = Arc::clone(&self.agents.peers[self.number]);
        let answered = async {
            let response = builder.send().await.map_err(How::Transport)?;
            Answer::read(&peer, response, &self.agents.large).await
        };
        let how = match answered.await {
            Ok(answer) => {
                self.agents.answered.store(true, Ordering::Relaxed);
                return Ok(answer);
            }
            Err(how) => how,
        };
        let how = match (how, self.agents.shows) {
            (How::Transport(error), Some(shows))
                if error::is_closed(&error) && !self.agents.answered.load(Ordering::Relaxed) =>
            {
                How::Closed(shows)
            }
            (how, _) => how,
        };
        Err(Fault { peer, how })
    }

    fn url(&self, request: &Request<'_>) -> Url {
        let mut url = self.agents.bases[self.number].clone();
        url.set_path(&format!("/v1/{}", request.path));
        if let Some(name) = request.name
            && let Ok(mut segments) = url.path_segments_mut()
        {
            segments.push(name);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use waypost_core::{Origin, Target};

    use super::*;

    fn agents(url: &str) -> Arc<Agents> {
        let target = Target::parse(url, None, Origin::Code).expect("target");
        let config = Config::read(&target).expect("config");
        Arc::new(Agents::open(&config).expect("agents"))
    }

    #[tokio::test]
    async fn names_are_encoded_exactly_once_and_cannot_leave_their_place() {
        let agent = agents("consul://h:1").agent(0);
        for (name, path) in [
            ("web-1", "/v1/agent/service/web-1"),
            ("a/b", "/v1/agent/service/a%2Fb"),
            ("a%2Fb", "/v1/agent/service/a%252Fb"),
            ("web/2 x?y#z", "/v1/agent/service/web%2F2%20x%3Fy%23z"),
            ("ünï", "/v1/agent/service/%C3%BCn%C3%AF"),
            ("a\\b", "/v1/agent/service/a%5Cb"),
        ] {
            let url = agent.url(&Request::get("agent/service", Some(name)));
            assert_eq!(url.path(), path);
        }
        let request = Request::get("health/service", Some("a")).with("filter", "ID == \"a&b\"");
        assert_eq!(
            agent.url(&request).query(),
            Some("filter=ID+%3D%3D+%22a%26b%22")
        );
    }

    #[tokio::test]
    async fn the_next_agent_is_asked_when_one_cannot_answer() {
        let agents = agents("consul://a,b,c");
        let asked = std::sync::Mutex::new(Vec::new());
        let ask = |agent: Agent| {
            asked.lock().expect("lock").push(agent.number);
            let outcome = match agent.number {
                0 => Err(Error::unavailable("down")),
                number => Ok(number),
            };
            std::future::ready(outcome)
        };
        assert_eq!(agents.any(ask).await.expect("the second"), 1);
        assert_eq!(agents.any(ask).await.expect("stays there"), 1);
        assert_eq!(*asked.lock().expect("lock"), [0, 1, 1]);
        agents.agent(1).leave();
        agents.agent(1).leave();
        assert_eq!(agents.any(ask).await.expect("moved on once"), 2);
    }

    #[tokio::test]
    async fn an_agent_that_was_given_up_on_is_not_asked_first_again() {
        let agents = agents("consul://a,b");
        let silent = |_| std::future::pending::<Result<()>>();
        assert!(agents.any(silent).now_or_never().is_none());
        let number = |agent: Agent| std::future::ready(Ok(agent.number));
        assert_eq!(agents.any(number).await.expect("the other"), 1);
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_and_all_down_is_the_first_ones_error() {
        let agents = agents("consul://a,b");
        let refuse = |_| std::future::ready(Err::<(), _>(Error::new(ErrorKind::Denied, "no")));
        assert_eq!(
            agents.any(refuse).await.expect_err("no").kind(),
            ErrorKind::Denied
        );
        let down = |agent: Agent| {
            std::future::ready(Err::<(), _>(Error::unavailable(agent.number.to_string())))
        };
        assert_eq!(agents.any(down).await.expect_err("down").to_string(), "0");
    }
}
