//! One reading of a domain: what was asked for it, and for how long it may be believed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use waypost_core::Result;

use crate::ask::{Ask, Nothing, Reply};
use crate::error;

/// How many aliases of aliases are followed.
const MOST_ALIASES: usize = 8;

/// Asks, follows aliases, and keeps account.
pub(crate) struct Reading<'a> {
    ask: &'a dyn Ask,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// The shortest time for which something that was heard may be believed, in seconds.
    ttl: Option<u32>,
    /// What answers held beside what was asked for (addresses of SRV targets, mostly).
    beside: HashMap<(Name, RecordType), Vec<RData>>,
}

/// The records of one kind at one name.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    pub(crate) data: Vec<RData>,
    /// Whether the name exists, perhaps with records of other kinds.
    pub(crate) exists: bool,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(ask: &'a dyn Ask) -> Self {
        Self {
            ask,
            heard: Mutex::default(),
        }
    }

    /// The records of `kind` at `name`, or where its aliases lead.
    ///
    /// # Errors
    /// Whenever it is not known what there is; `Corrupt` for aliases that lead nowhere.
    pub(crate) async fn find(&self, name: &Name, kind: RecordType) -> Result<Found> {
        if let Some(data) = self.heard().beside.get(&(name.to_lowercase(), kind)) {
            let data = data.clone();
            return Ok(Found { data, exists: true });
        }
        let mut asked = name.clone();
        for _ in 0..MOST_ALIASES {
            let message = match self.ask.ask(&asked, kind).await? {
                Reply::Nothing(nothing) => return Ok(self.nothing(nothing)),
                Reply::Records(message) => message,
            };
            self.note_beside(&message);
            let (end, data) = self.follow(&asked, kind, &message)?;
            if !data.is_empty() {
                return Ok(Found { data, exists: true });
            }
            if end == asked {
                // Records of other kinds, which nobody asked for.
                return Ok(self.nothing(Nothing {
                    exists: true,
                    ..Nothing::default()
                }));
            }
            asked = end;
        }
        Err(error::aliases(name, MOST_ALIASES))
    }

    /// The serial of the zone that `name` is in, if it is told.
    pub(crate) async fn serial(&self, name: &Name) -> Result<Option<u32>> {
        Ok(match self.ask.ask(name, RecordType::SOA).await? {
            Reply::Nothing(nothing) => nothing.serial,
            Reply::Records(message) => {
                message
                    .all_sections()
                    .find_map(|record| match &record.data {
                        RData::SOA(soa) => Some(soa.serial),
                        _ => None,
                    })
            }
        })
    }

    /// Forgets what was heard beside answers: it is to be asked for anew.
    pub(crate) fn forget(&self) {
        self.heard().beside.clear();
    }

    /// For how many seconds all that was heard may be believed.
    pub(crate) fn ttl(&self) -> Option<u32> {
        self.heard().ttl
    }

    fn nothing(&self, nothing: Nothing) -> Found {
        self.note(nothing.ttl.unwrap_or(0));
        Found {
            data: Vec::new(),
            exists: nothing.exists,
        }
    }

    /// Follows the aliases within one answer: their end, and the records there.
    fn follow(
        &self,
        name: &Name,
        kind: RecordType,
        answer: &Message,
    ) -> Result<(Name, Vec<RData>)> {
        let mut at = name.clone();
        for _ in 0..=MOST_ALIASES {
            let here = || answer.answers.iter().filter(|record| record.name == at);
            let wanted: Vec<&Record> = here().filter(|one| one.record_type() == kind).collect();
            if !wanted.is_empty() {
                wanted.iter().for_each(|record| self.note(record.ttl));
                return Ok((
                    at.clone(),
                    wanted.into_iter().map(|one| one.data.clone()).collect(),
                ));
            }
            let alias = here().find_map(|record| match &record.data {
                RData::CNAME(alias) => Some((record.ttl, alias.0.clone())),
                _ => None,
            });
            let Some((ttl, alias)) = alias else {
                return Ok((at, Vec::new()));
            };
            self.note(ttl);
            at = alias;
        }
        Err(error::aliases(name, MOST_ALIASES))
    }

    fn note(&self, ttl: u32) {
        let mut heard = self.heard();
        heard.ttl = Some(heard.ttl.map_or(ttl, |known| known.min(ttl)));
    }

    /// What is beside an answer saves questions. Its ttl counts as if it had been asked for.
    fn note_beside(&self, message: &Message) {
        let mut fresh: HashMap<(Name, RecordType), Vec<RData>> = HashMap::new();
        let mut least = None;
        for record in &message.additionals {
            let key = (record.name.to_lowercase(), record.record_type());
            fresh.entry(key).or_default().push(record.data.clone());
            least = Some(least.map_or(record.ttl, |least: u32| least.min(record.ttl)));
        }
        if let Some(ttl) = least {
            self.note(ttl);
        }
        self.heard().beside.extend(fresh);
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
