//! What is asked of an agent, one function an endpoint of its API.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use waypost_core::{Error, ErrorKind, Result};

use crate::answer::Answer;
use crate::error;
use crate::http::{Agent, Request, Since};
use crate::owner::Owner;
use crate::record::{Check, Definition, Entry, Held, Service, check_id};

/// The servers' own service: nobody registered it.
pub(crate) const SERVERS: &str = "consul";

/// An answer of the servers with the index that it is true at.
#[derive(Debug)]
pub(crate) struct Read<T> {
    pub(crate) what: T,
    pub(crate) index: u64,
}

impl<T> Read<T> {
    /// # Errors
    /// `Denied` when the agent says that it left something out and nothing is left.
    fn of(answer: &Answer, what: T, is_empty: impl Fn(&T) -> bool) -> Result<Self> {
        if answer.filtered && is_empty(&what) {
            return Err(error::hidden(answer.peer(), "it"));
        }
        let index = answer.index;
        Ok(Self { what, index })
    }
}

/// The agent's own view of a record; health is its status: 200, 429 or 503.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentHealth {
    service: Option<Service>,
    checks: Option<Vec<Check>>,
}

/// What a blocking query of a record says.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) owner: Option<Owner>,
    pub(crate) since: Since,
}

/// Why we may see everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Everybody may.
    Unruled,
    /// The token may, from some moment on: what was read before proves nothing.
    Granted,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Question<'a> {
    resource: &'static str,
    access: &'static str,
    segment: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ruling {
    #[serde(default)]
    resource: String,
    allow: bool,
}

impl Agent {
    /// The record that this agent has under an id.
    pub(crate) async fn held(&self, id: &str) -> Result<Option<Held>> {
        let request = Request::get("agent/health/service/id", Some(id));
        let answer = self.send(request).await.map_err(error::of)?;
        let fault = || error::of(answer.fault());
        let health = match answer.status.as_u16() {
            200 => answer.json::<AgentHealth>().map_err(error::of)?,
            // 429 may also mean that there are too many connections, 404 that there is no such path.
            404 | 429 | 503 => answer.json::<AgentHealth>().map_err(|_| fault())?,
            _ => return Err(fault()),
        };
        let own = check_id(id);
        let mut checks = health.checks.unwrap_or_default().into_iter();
        Ok(health.service.map(|service| Held {
            service,
            check: checks.find(|check| check.check_id == own),
        }))
    }

    /// Registers a record at this agent, in the place of one with the same id.
    pub(crate) async fn write(&self, definition: &Definition) -> Result<()> {
        let request = Request::put("agent/service/register", None)
            // Else checks that a former owner added would stay.
            .with("replace-existing-checks", "true")
            .json(definition);
        self.ask(request).await.map(drop).map_err(error::of)
    }

    /// Renews a record. Without a note: a changing one would wake every watcher.
    pub(crate) async fn pass(&self, id: &str) -> Result<()> {
        let check = check_id(id);
        let request = Request::put("agent/check/pass", Some(&check));
        self.ask(request).await.map(drop).map_err(error::of)
    }

    /// Removes a record from this agent.
    pub(crate) async fn remove(&self, id: &str) -> Result<()> {
        let request = Request::put("agent/service/deregister", Some(id));
        match self.ask(request).await.map_err(error::of) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Removes an entry from the servers. Its agent, if it lives, will bring it back.
    pub(crate) async fn strike(&self, entry: &Entry) -> Result<()> {
        let body = BTreeMap::from([
            ("Node", entry.node.name.as_str()),
            ("ServiceID", entry.service.id.as_str()),
        ]);
        let request = Request::put("catalog/deregister", None).json(&body);
        self.ask(request).await.map(drop).map_err(error::of)
    }

    /// Waits until this agent's record of an id is another than `since`; nothing when there is none.
    pub(crate) async fn sight(&self, id: &str, since: &Since) -> Result<Option<Sighting>> {
        let request = Request::get("agent/service", Some(id));
        let answer = self.block(request, since, self.wait()).await;
        let answer = match answer.map_err(error::of) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            answer => answer?,
        };
        let service: Service = answer.json().map_err(error::of)?;
        Ok(Some(Sighting {
            owner: service.owner(),
            since: answer.hash.map_or(Since::Now, Since::Hash),
        }))
    }

    /// The entries of a service, live or not.
    pub(crate) async fn entries(&self, service: &str, since: &Since) -> Result<Read<Vec<Entry>>> {
        self.read_entries(
            Request::get("health/service", Some(service)),
            since,
            self.wait(),
        )
        .await
    }

    /// The entries of a service with one id.
    pub(crate) async fn entries_of(
        &self,
        service: &str,
        id: &str,
        since: &Since,
        wait: Duration,
    ) -> Result<Read<Vec<Entry>>> {
        let mut request = Request::get("health/service", Some(service));
        // So that of a thousand instances one is sent. Anything but these would need quoting.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@".contains(&b);
        if id.bytes().all(plain) {
            request = request.with("filter", format!("Service.ID == \"{id}\""));
        }
        let mut read = self.read_entries(request, since, wait).await?;
        read.what
            .retain(|entry| entry.service.name == service && entry.service.id == id);
        Ok(read)
    }

    async fn read_entries(
        &self,
        request: Request<'_>,
        since: &Since,
        wait: Duration,
    ) -> Result<Read<Vec<Entry>>> {
        let request = proven(request, since);
        let answer = self.block(request, since, wait).await.map_err(error::of)?;
        let entries: Vec<Entry> = answer.json().map_err(error::of)?;
        Read::of(&answer, entries, Vec::is_empty)
    }

    /// The names of all services that begin so, but the servers' own.
    pub(crate) async fn names(&self, only: &str) -> Result<Read<Vec<String>>> {
        let request = proven(Request::get("catalog/services", None), &Since::Now);
        let answer = self.ask(request).await.map_err(error::of)?;
        let names: BTreeMap<String, IgnoredAny> = answer.json().map_err(error::of)?;
        let is_meant = |name: &String| name != SERVERS && name.starts_with(only);
        let names = names.into_keys().filter(is_meant).collect();
        Read::of(&answer, names, Vec::is_empty)
    }

    /// Every check of a machine, and of a service whose name begins so.
    pub(crate) async fn checks(&self, only: &str, since: &Since) -> Result<Read<Vec<Check>>> {
        let mut request = Request::get("health/state/any", None);
        if !only.is_empty() {
            // The one character that means something else in a pattern.
            let pattern = only.replace('.', r"\.");
            let filter = format!("ServiceName == \"\" or ServiceName matches `^{pattern}`");
            request = request.with("filter", filter);
        }
        let request = proven(request, since);
        let answer = self.block(request, since, self.wait()).await;
        let answer = answer.map_err(error::of)?;
        let checks: Vec<Check> = answer.json().map_err(error::of)?;
        Read::of(&answer, checks, Vec::is_empty)
    }

    /// What was read of a service, unless it is empty and could have been hidden: then it is read
    /// once more, since the rights may have come after the first reading.
    pub(crate) async fn proven(
        &self,
        service: &str,
        read: Read<Vec<Entry>>,
    ) -> Result<Read<Vec<Entry>>> {
        if !read.what.is_empty() || self.prove(service).await? == Rights::Unruled {
            return Ok(read);
        }
        self.entries(service, &Since::Now).await
    }

    /// Proves that nothing is hidden from us: that the token may read the service, or all those
    /// whose names begin so, and the nodes. An agent answers `200 []` to who may not.
    ///
    /// # Errors
    /// `Denied` when it may not; `Unavailable` when that cannot be told.
    pub(crate) async fn prove(&self, service: &str) -> Result<Rights> {
        let question = |resource, segment| Question {
            resource,
            access: "read",
            segment,
        };
        let questions = [question("service", service), question("node", "")];
        let request = Request::post("internal/acl/authorize").json(&questions);
        let answer = self.send(request).await.map_err(error::of)?;
        match (answer.status.as_u16(), answer.text()) {
            (200, _) => {}
            (401, text) if text.contains("ACL support disabled") => return Ok(Rights::Unruled),
            (404 | 405, _) => {
                return Err(Error::unavailable(format!(
                    "{}: the agent shows nothing, and cannot say whether that is all there is",
                    answer.peer()
                )));
            }
            _ => return Err(error::of(answer.fault())),
        }
        let rulings: Vec<Ruling> = answer.json().map_err(error::of)?;
        match rulings.iter().find(|ruling| !ruling.allow) {
            None if rulings.len() == questions.len() => Ok(Rights::Granted),
            Some(ruling) if ruling.resource == "service" => Err(error::hidden(
                answer.peer(),
                &format!("service {service:?}"),
            )),
            _ => Err(error::hidden(answer.peer(), "the nodes")),
        }
    }

    /// Whether the servers, as this agent knows them, have a leader. It is not waited for.
    pub(crate) async fn is_led(&self) -> Result<bool> {
        let answer = self.ask(Request::get("status/leader", None)).await;
        let leader: String = answer.map_err(error::of)?.json().map_err(error::of)?;
        Ok(!leader.is_empty())
    }
}

/// A question about what is there now is answered by a leader that was confirmed as such, and that
/// has read its log to the end. One that has just been elected, or started, may else answer out of
/// an older state. What is asked with an index cannot be older than the index.
fn proven<'a>(request: Request<'a>, since: &Since) -> Request<'a> {
    match since {
        Since::Now => request.with("consistent", ""),
        Since::Index(_) | Since::Hash(_) => request,
    }
}
