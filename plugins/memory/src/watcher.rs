//! A watcher of the map.

use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use futures_core::Stream;
use waypost_core::{Event, Result, WatchScope};
use waypost_plugin_kit::Events;

use crate::registry::Shared;
use crate::state::Token;

/// A stream that takes itself off the map when it is dropped. It does not keep the registry
/// alive: when that is gone, the stream ends.
#[derive(Debug)]
pub(crate) struct MemoryWatcher {
    events: Events,
    shared: Weak<Shared>,
    scope: WatchScope,
    token: Token,
}

impl MemoryWatcher {
    pub(crate) fn new(
        events: Events,
        shared: Weak<Shared>,
        scope: WatchScope,
        token: Token,
    ) -> Self {
        Self {
            events,
            shared,
            scope,
            token,
        }
    }
}

impl Stream for MemoryWatcher {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}

impl Drop for MemoryWatcher {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.unwatch(&self.scope, self.token);
        }
    }
}
