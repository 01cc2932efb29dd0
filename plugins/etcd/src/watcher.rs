//! A snapshot, and everything after it.

use std::collections::VecDeque;

use etcd_client::proto::PbEvent;
use etcd_client::{Error as Told, WatchOptions, WatchResponse, WatchStream};
use waypost_core::{BoxWatcher, Change, Error, ErrorKind, Event, Result};
use waypost_plugin_kit::{Publisher, Task, channel};

use crate::config::DRIVER;
use crate::endpoints::Endpoints;
use crate::error;
use crate::layout::Range;
use crate::range::At;
use crate::view::View;

/// Changes that a slow reader finds as they came; more are folded to the latest state.
const CAPACITY: usize = 64;

/// etcd's numbers for the types of events.
const PUT: i32 = 0;
const DELETE: i32 = 1;

/// Follows `ranges`, whose records at `at` are `view`.
///
/// A task reads the server's stream and never waits for the reader: an unread stream would hold
/// back the others of its connection, renewals included.
pub(crate) async fn follow(
    endpoints: &Endpoints,
    ranges: Vec<Range>,
    at: At,
    view: View,
) -> Result<BoxWatcher> {
    let opened = open(endpoints, &ranges, at).await?;
    let (publisher, events) = channel(CAPACITY);
    publisher.publish(Event::Snapshot(view.instances().cloned().collect()));
    let follower = Follower {
        scope: view.scope().to_string(),
        opened,
        at,
        view,
        batch: Vec::new(),
    };
    let task = Task::spawn(follower.run(publisher));
    Ok(Box::pin(events.fed_by(task)))
}

/// A stream on which the server has begun to watch every range.
struct Opened {
    stream: WatchStream,
    peer: String,
    /// What came before the last range was confirmed.
    early: VecDeque<WatchResponse>,
}

async fn open(endpoints: &Endpoints, ranges: &[Range], at: At) -> Result<Opened> {
    endpoints
        .call(|endpoint| async move {
            let mut early = VecDeque::new();
            let mut asked = ranges.iter();
            let Some(first) = asked.next() else {
                return Err(Told::InvalidArgs("nothing to watch".to_owned()));
            };
            let mut client = endpoint.watch();
            let mut stream = client
                .watch(first.start.as_str(), Some(options(first, at)))
                .await?;
            for range in asked {
                let options = options(range, at);
                stream.watch(range.start.as_str(), Some(options)).await?;
            }
            let mut begun = 0;
            while begun < ranges.len() {
                let Some(response) = stream.message().await? else {
                    return Err(Told::WatchError("the server ended the watch".to_owned()));
                };
                check(&response, at).map_err(Told::WatchError)?;
                if response.created() {
                    begun += 1;
                } else {
                    early.push_back(response);
                }
            }
            Ok(Opened {
                stream,
                peer: endpoint.address().to_owned(),
                early,
            })
        })
        .await
}

fn options(range: &Range, at: At) -> WatchOptions {
    let options = WatchOptions::new()
        .with_start_revision(at.revision + 1)
        .with_progress_notify()
        .with_fragment();
    match &range.end {
        Some(end) => options.with_range(end.clone()),
        None => options,
    }
}

/// Whether what the server says can follow what was read at `at`; else why not.
fn check(response: &WatchResponse, at: At) -> Result<(), String> {
    if response.canceled() {
        let compacted = response.compact_revision();
        return Err(match response.cancel_reason() {
            _ if compacted != 0 => {
                format!("the history was compacted up to revision {compacted}")
            }
            // Older servers refuse without a word.
            "" if response.created() => "permission denied".to_owned(),
            "" => "the server canceled the watch".to_owned(),
            reason => reason.to_owned(),
        });
    }
    let Some(header) = response.header() else {
        return Ok(());
    };
    // A server that lost its data takes a watch from its future and stays silent.
    if header.revision() < at.revision || header.cluster_id() != at.cluster {
        return Err(format!(
            "the server's history went backwards, from revision {} to {}",
            at.revision,
            header.revision()
        ));
    }
    Ok(())
}

struct Follower {
    scope: String,
    opened: Opened,
    at: At,
    view: View,
    /// Changes of an answer that comes in several parts.
    batch: Vec<Change>,
}

impl Follower {
    async fn run(mut self, publisher: Publisher) {
        loop {
            let response = match self.opened.early.pop_front() {
                Some(response) => Ok(Some(response)),
                None => self.opened.stream.message().await,
            };
            let event = match response {
                Ok(Some(response)) => self.take(response),
                Ok(None) => Err(self.fault("the server ended the watch")),
                Err(told) => Err(error::fault(&self.opened.peer, &told).error),
            };
            match event {
                Ok(Some(event)) => publisher.publish(event),
                Ok(None) => {}
                Err(error) => {
                    let error = error.with_operation("watch", &self.scope);
                    return publisher.fail(error.with_driver(DRIVER.name));
                }
            }
        }
    }

    /// What an answer means to the reader; nothing while more of it is to come.
    fn take(&mut self, mut response: WatchResponse) -> Result<Option<Event>> {
        check(&response, self.at).map_err(|reason| self.fault(&reason))?;
        for event in std::mem::take(&mut response.0.events) {
            self.apply(event)?;
        }
        if response.0.fragment {
            return Ok(None);
        }
        Ok(Some(match std::mem::take(&mut self.batch) {
            none if none.is_empty() => Event::Confirmed,
            changes => Event::Changed(changes),
        }))
    }

    fn apply(&mut self, event: PbEvent) -> Result<()> {
        match (event.r#type, event.kv) {
            (PUT, Some(record)) => self.view.put(&record.key, &record.value, &mut self.batch),
            (DELETE, Some(record)) => self.view.delete(&record.key, &mut self.batch),
            (kind, _) => {
                let peer = &self.opened.peer;
                let message = format!("{peer}: an event of the unknown type {kind}");
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        Ok(())
    }

    fn fault(&self, reason: &str) -> Error {
        error::fault(&self.opened.peer, &Told::WatchError(reason.to_owned())).error
    }
}
