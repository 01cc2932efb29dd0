//! Reading records and the directories that they stand in.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, TryStreamExt, future, stream};
use waypost_core::{Instance, SkipLog, WatchScope};
use waypost_plugin_kit::codec;
use waypost_plugin_kit::layout::Prefix;
use zookeeper_client::Error as Told;

use crate::alarms::Alarm;
use crate::config::DRIVER;
use crate::sane::sane;
use crate::session::Core;

/// Requests of one listing that are under way at the same time. A foreign znode may have a
/// megabyte.
const AT_ONCE: usize = 64;

/// Something to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The znodes below this one.
    Directory(String),
    /// The record in this one.
    Record(String),
}

/// What was found there.
#[derive(Debug)]
pub(crate) enum Found {
    /// More to read.
    Places(Vec<Place>),
    /// The record at this path.
    Record(String, Arc<Instance>),
    /// No record at this path, or none to be believed.
    Nothing(String),
    /// Something that may not be read, at this path.
    Denied(String),
}

/// Reads through one session. It does not wait for a connection.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) session: &'a Core,
    pub(crate) skipped: &'a SkipLog,
    /// Where to put the alarms of what is read, if it is to be watched.
    pub(crate) alarms: Option<&'a Mutex<Vec<(Place, Alarm)>>>,
}

/// The directory that everything of a scope stands below.
pub(crate) fn top(prefix: &Prefix, scope: &WatchScope) -> String {
    let below = match scope {
        WatchScope::All => prefix.all(),
        WatchScope::Service(name) => prefix.service(name),
    };
    below.trim_end_matches('/').to_owned()
}

impl Reader<'_> {
    /// Everything of a scope, as new as the leader has it.
    pub(crate) async fn scope(self, scope: &WatchScope) -> Result<Vec<Arc<Instance>>, Told> {
        let mut places = vec![Place::Directory(top(&self.session.config().prefix, scope))];
        let (mut records, mut denied) = (Vec::new(), false);
        // A follower may be behind; this is answered when it is not. Both are sent at once.
        let mut synced = Some(self.session.client().sync("/"));
        while !places.is_empty() {
            let read = self.read(std::mem::take(&mut places));
            let found = match synced.take() {
                Some(synced) => future::try_join(synced, read).await?.1,
                None => read.await?,
            };
            for found in found {
                match found {
                    Found::Places(more) => places.extend(more),
                    Found::Record(_, record) if scope.covers(&record.service) => {
                        records.push(record);
                    }
                    Found::Record(..) | Found::Nothing(_) => {}
                    Found::Denied(_) => denied = true,
                }
            }
        }
        match denied && records.is_empty() {
            // Emptiness that cannot be proved is none.
            true => Err(Told::NoAuth),
            false => Ok(records),
        }
    }

    /// Reads places, many at a time.
    pub(crate) async fn read(
        self,
        places: impl IntoIterator<Item = Place>,
    ) -> Result<Vec<Found>, Told> {
        stream::iter(places)
            .map(|place| async move {
                match place {
                    Place::Directory(path) => self.directory(path).await,
                    Place::Record(path) => self.record(path).await,
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn directory(self, path: String) -> Result<Found, Told> {
        let names = match self.names(&path).await {
            Ok(names) => names,
            Err(Told::NoAuth) => return Ok(self.denied(path)),
            Err(told) => return Err(told),
        };
        let root = path == self.session.config().prefix.as_str();
        let places = names.into_iter().map(|name| {
            let child = format!("{path}/{name}");
            match root {
                true => Place::Directory(child),
                false => Place::Record(child),
            }
        });
        Ok(Found::Places(places.collect()))
    }

    /// What stands below `path`; nothing if there is no such znode.
    async fn names(self, path: &str) -> Result<Vec<String>, Told> {
        if self.alarms.is_none() {
            return match self.session.client().list_children(path).await {
                Err(Told::NoNode) => Ok(Vec::new()),
                result => result,
            };
        }
        loop {
            let (names, alarm) = match self.session.alarms().children(path).await {
                Ok(answer) => answer,
                Err(Told::NoNode) => match self.session.alarms().stat(path).await? {
                    (None, alarm) => (Vec::new(), alarm),
                    // It came into being in between.
                    (Some(_), _) => continue,
                },
                Err(told) => return Err(told),
            };
            self.arm(Place::Directory(path.to_owned()), alarm);
            return Ok(names);
        }
    }

    fn arm(self, place: Place, alarm: Alarm) {
        if let Some(alarms) = self.alarms {
            let mut alarms = alarms.lock().unwrap_or_else(PoisonError::into_inner);
            alarms.push((place, alarm));
        }
    }

    async fn record(self, path: String) -> Result<Found, Told> {
        let data = match self.data(&path).await {
            Ok(data) => data,
            Err(Told::NoNode) => return Ok(Found::Nothing(path)),
            Err(Told::NoAuth) => return Ok(self.denied(path)),
            Err(told) => return Err(told),
        };
        let Some((service, node)) = self.session.config().prefix.parse(&path) else {
            return Ok(Found::Nothing(path));
        };
        match codec::decode_record(service, node, &data) {
            Ok(record) => Ok(Found::Record(path, Arc::new(record))),
            Err(reason) => {
                self.skipped.skip(DRIVER.name, path.as_str(), reason);
                Ok(Found::Nothing(path))
            }
        }
    }

    async fn data(self, path: &str) -> Result<Vec<u8>, Told> {
        if self.alarms.is_none() {
            let read = sane(self.session.client().get_data(path)).await;
            return read.map(|(data, _)| data);
        }
        let (data, alarm) = self.session.alarms().data(path).await?;
        self.arm(Place::Record(path.to_owned()), alarm);
        Ok(data)
    }

    fn denied(self, path: String) -> Found {
        let reason = "the znode's access list does not allow to read it";
        self.skipped.skip(DRIVER.name, path.as_str(), reason);
        Found::Denied(path)
    }
}
