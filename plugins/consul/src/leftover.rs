//! Copies of records that leases left behind at agents that did not answer.
//!
//! A lease that moves to another agent cannot take its record away from the former one. An agent
//! that was only out of reach shows it again when it is back, until it expires there; so it is
//! visited until it has given the copy up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use waypost_core::Result;
use waypost_plugin_kit::{Pace, Task};

use crate::error;
use crate::http::Agent;
use crate::owner::Owner;

/// The distance of two visits to agents that do not answer.
const EVERY: Duration = Duration::from_secs(5);
/// Most copies that are kept in mind. The oldest go first, which their ttl has ended long ago.
const MOST: usize = 4096;

/// All copies of a registry value, and the task that takes them away.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    list: Arc<List>,
    task: Mutex<Option<Task>>,
}

#[derive(Debug, Default)]
struct List {
    copies: Mutex<VecDeque<Leftover>>,
    more: Notify,
}

/// A copy at an agent.
#[derive(Debug, Clone)]
struct Leftover {
    agent: Agent,
    id: String,
    /// A write of ours after the copy's.
    before: Owner,
}

impl Leftover {
    fn is(&self, agent: &Agent, id: &str) -> bool {
        self.agent.is(agent) && self.id == id
    }

    fn is_owned_by(&self, owner: &Owner) -> bool {
        owner.process == self.before.process && owner.number < self.before.number
    }
}

impl Leftovers {
    /// Takes what was written to `agent` under this id `before` away, as soon as it answers.
    pub(crate) fn add(&self, agent: Agent, id: &str, before: Owner) {
        let mut copies = self.list.lock();
        copies.retain(|copy| !copy.is(&agent, id));
        if copies.len() == MOST {
            copies.pop_front();
        }
        copies.push_back(Leftover {
            agent,
            id: id.to_owned(),
            before,
        });
        drop(copies);
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(Task::is_finished) {
            let list = Arc::clone(&self.list);
            *task = Some(Task::spawn(async move { list.clear().await }));
        }
        self.list.more.notify_one();
    }

    /// The record is to be at this agent again; tells whether a copy was to be taken away.
    pub(crate) fn forget(&self, agent: &Agent, id: &str) -> bool {
        let mut copies = self.list.lock();
        let before = copies.len();
        copies.retain(|copy| !copy.is(agent, id));
        copies.len() < before
    }
}

impl List {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Leftover>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Visits the agents, again and again.
    async fn clear(&self) {
        let mut pace = Pace::new(1, EVERY);
        loop {
            pace.turn().await;
            let mut agents: Vec<Agent> = Vec::new();
            for copy in self.lock().iter() {
                if !agents.iter().any(|agent| agent.is(&copy.agent)) {
                    agents.push(copy.agent.clone());
                }
            }
            if agents.is_empty() {
                self.more.notified().await;
            }
            for agent in agents {
                self.visit(&agent).await;
            }
        }
    }

    /// Takes the copies of an agent away, until it fails.
    async fn visit(&self, agent: &Agent) {
        let next = || {
            let copies = self.lock();
            copies.iter().find(|copy| copy.agent.is(agent)).cloned()
        };
        while let Some(copy) = next() {
            match self.take_away(&copy).await {
                Err(error) if error::is_agents_own(&error) => return,
                // What may not be removed goes with its ttl.
                Ok(()) | Err(_) => self.lock().retain(|other| !other.is(agent, &copy.id)),
            }
        }
    }

    async fn take_away(&self, copy: &Leftover) -> Result<()> {
        let held = copy.agent.held(&copy.id).await?;
        let owner = held.and_then(|held| held.service.owner());
        let is_it = owner.is_some_and(|owner| copy.is_owned_by(&owner));
        // The lease may have come back meanwhile.
        let is_left = |copies: &VecDeque<Leftover>| {
            copies.iter().any(|other| other.is(&copy.agent, &copy.id))
        };
        if is_it && is_left(&self.lock()) {
            copy.agent.remove(&copy.id).await?;
        }
        Ok(())
    }
}
