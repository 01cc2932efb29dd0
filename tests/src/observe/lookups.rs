//! Fresh lookups ten times a second, over a connection that no fault touches.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use waypost_core::{Instance, Registry, ServiceName};

use crate::history::History;
use crate::random::record::{What, stamps};
use crate::random::tape::now;

use super::{Eye, Set, difference};

/// The time between two lookups.
const EVERY: Duration = Duration::from_millis(100);
const NAME: &str = "lookup";

/// One lookup that was answered.
#[derive(Debug, Clone)]
struct Sight {
    asked: Instant,
    told: Instant,
    set: Set,
    /// Whether a node was listed twice.
    doubled: bool,
}

/// Looks a service up, again and again, and remembers the answers.
#[derive(Debug)]
pub struct Lookups {
    sights: Arc<Mutex<Vec<Sight>>>,
    task: AbortHandle,
}

impl Lookups {
    /// Begins to look `service` up.
    #[must_use]
    pub fn start(registry: Arc<dyn Registry>, service: ServiceName, history: History) -> Self {
        let sights = Arc::default();
        let looking = look(registry, service, Arc::clone(&sights), history);
        Self {
            sights,
            task: tokio::spawn(looking).abort_handle(),
        }
    }

    /// Forgets all answers but the last.
    pub fn restart(&self) {
        let mut sights = self.lock();
        let last = sights.len().saturating_sub(1);
        sights.drain(..last);
    }

    /// The longest time for which a node was missing in answers to what was asked since `since`:
    /// from the first answer without it to the next with it, or to the last answer.
    #[must_use]
    pub fn absence(&self, node: &str, since: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        let mut missed: Option<Instant> = None;
        for sight in self.lock().iter().filter(|sight| sight.asked >= since) {
            let is_there = sight.set.keys().any(|id| id.as_str() == node);
            let from = missed.unwrap_or(sight.asked);
            if !is_there || missed.is_some() {
                longest = longest.max(sight.told - from);
            }
            missed = (!is_there).then_some(from);
        }
        longest
    }

    /// How many answers there were to what was asked since `since`, and how many listed a node
    /// twice.
    #[must_use]
    pub fn answers(&self, since: Instant) -> (usize, usize) {
        let sights = self.lock();
        let recent = sights.iter().filter(|sight| sight.asked >= since);
        recent.fold((0, 0), |(all, doubled), sight| {
            (all + 1, doubled + usize::from(sight.doubled))
        })
    }

    /// How often the record of `node` had another content than in the answer before.
    #[must_use]
    pub fn changes(&self, node: &str, since: Instant) -> usize {
        let sights = self.lock();
        let recent = sights.iter().filter(|sight| sight.asked >= since);
        let records: Vec<Option<&Arc<Instance>>> = recent
            .map(|sight| sight.set.iter().find(|(id, _)| id.as_str() == node))
            .map(|found| found.map(|(_, instance)| instance))
            .collect();
        records.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sight>> {
        self.sights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Eye for Lookups {
    fn name(&self) -> &str {
        NAME
    }

    fn sees(&self, since: Instant) -> Option<Set> {
        let sights = self.lock();
        let last = sights.last().filter(|sight| sight.asked >= since)?;
        Some(last.set.clone())
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(
    registry: Arc<dyn Registry>,
    service: ServiceName,
    sights: Arc<Mutex<Vec<Sight>>>,
    history: History,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Set::new();
    let mut failing = false;
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let asked_at = now();
        match registry.lookup(&service).await {
            Ok(all) => {
                let count = all.len();
                let set: Set = all
                    .into_iter()
                    .map(|instance| (instance.node.id.clone(), Arc::new(instance)))
                    .collect();
                let doubled = set.len() != count;
                history.tell(NAME, || What::Looked {
                    asked: asked_at,
                    set: stamps(&set),
                    doubled,
                });
                let news = difference(&last, &set);
                if failing || !news.is_empty() {
                    history.note(NAME, format!("{} nodes {news}", set.len()));
                }
                failing = false;
                last.clone_from(&set);
                let sight = Sight {
                    asked,
                    told: Instant::now(),
                    doubled,
                    set,
                };
                let mut sights = sights.lock().unwrap_or_else(PoisonError::into_inner);
                sights.push(sight);
            }
            Err(error) => {
                history.tell(NAME, || What::LookFailed {
                    asked: asked_at,
                    error: error.chain(),
                });
                if !failing {
                    history.note(NAME, format!("fails: {}", error.chain()));
                }
                failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use waypost_core::{Address, Node, NodeId};

    use super::*;

    fn seen(begun: Instant, sights: &[(u64, &[&str])]) -> Lookups {
        let one = |id: &str| {
            let node = Node::new(
                NodeId::new(id).expect("id"),
                Address::new("10.0.0.1:80").expect("address"),
            );
            let name = ServiceName::new("s").expect("name");
            (node.id.clone(), Arc::new(Instance::new(name, node)))
        };
        let sights = sights.iter().map(|(at, ids)| Sight {
            asked: begun + Duration::from_millis(*at),
            told: begun + Duration::from_millis(*at + 10),
            set: ids.iter().map(|id| one(id)).collect(),
            doubled: false,
        });
        Lookups {
            sights: Arc::new(Mutex::new(sights.collect())),
            task: tokio::spawn(std::future::pending::<()>()).abort_handle(),
        }
    }

    #[tokio::test]
    async fn absence_lasts_from_the_first_answer_without_to_the_next_with() {
        let begun = Instant::now();
        let lookups = seen(
            begun,
            &[
                (0, &["a", "b"]),
                (100, &["b"]),
                (200, &["b"]),
                (300, &["a", "b"]),
                (400, &["a"]),
            ],
        );
        assert_eq!(lookups.absence("a", begun), Duration::from_millis(210));
        assert_eq!(lookups.absence("b", begun), Duration::from_millis(10));
        let later = begun + Duration::from_millis(250);
        assert_eq!(lookups.absence("a", later), Duration::ZERO);
        assert_eq!(lookups.absence("c", begun), Duration::from_millis(410));
    }
}
