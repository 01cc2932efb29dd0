//! A service's nodes as tower's stacks take them.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream};
use tower::discover::Change;
use waypost_core::{Address, Followed, Instance, Members, NodeId};

use crate::client::Client;
use crate::error::Result;

/// The nodes of a service as they come and go: a `tower::discover::Discover`.
///
/// A node that is registered at another address is inserted again, in place of the former. Nodes
/// kept after a mass departure are among them while no live one is left.
pub struct Discovered<S> {
    changes: Pin<Box<dyn Stream<Item = Change<NodeId, S>> + Send>>,
}

impl<S> Stream for Discovered<S> {
    type Item = Result<Change<NodeId, S>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.changes.as_mut().poll_next(cx).map(|one| one.map(Ok))
    }
}

impl<S> fmt::Debug for Discovered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovered").finish_non_exhaustive()
    }
}

impl Client {
    /// The nodes of `service` as they come and go, each made into a service by `make`: for stacks
    /// that balance by themselves, such as `tower::balance`. They pick and retry by their own rules.
    ///
    /// # Errors
    /// As [`Client::prepare`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn discover<S, F>(&self, service: &str, make: F) -> Result<Discovered<S>>
    where
        S: Send + 'static,
        F: FnMut(&Instance) -> S + Send + 'static,
    {
        let followed = self.followed(service).await?;
        let begin = State {
            seen: BTreeMap::new(),
            waiting: VecDeque::new(),
            make,
            followed,
            first: true,
        };
        Ok(Discovered {
            changes: Box::pin(stream::unfold(begin, step)),
        })
    }
}

struct State<S, F> {
    seen: BTreeMap<NodeId, Address>,
    waiting: VecDeque<Change<NodeId, S>>,
    make: F,
    followed: Followed,
    first: bool,
}

async fn step<S, F>(mut state: State<S, F>) -> Option<(Change<NodeId, S>, State<S, F>)>
where
    F: FnMut(&Instance) -> S,
{
    loop {
        if let Some(change) = state.waiting.pop_front() {
            return Some((change, state));
        }
        let members = match std::mem::take(&mut state.first) {
            true => state.followed.members(),
            false => state.followed.changed().await,
        };
        state.compare(&members);
    }
}

impl<S, F> State<S, F>
where
    F: FnMut(&Instance) -> S,
{
    /// Notes what is other than what was told.
    fn compare(&mut self, members: &Members) {
        let nobody_lives = members.live().next().is_none();
        let fallback = members.fallback().filter(|_| nobody_lives);
        let mut now = BTreeMap::new();
        for instance in members.live().chain(fallback) {
            let (id, address) = (&instance.node.id, &instance.node.address);
            now.insert(id.clone(), address.clone());
            if self.seen.get(id) != Some(address) {
                let service = (self.make)(instance);
                self.waiting.push_back(Change::Insert(id.clone(), service));
            }
        }
        for id in self.seen.keys().filter(|id| !now.contains_key(*id)) {
            self.waiting.push_back(Change::Remove(id.clone()));
        }
        self.seen = now;
    }
}
