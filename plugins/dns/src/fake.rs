//! A table of records in place of name servers.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, PTR, SRV, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use waypost_core::{Error, ErrorKind, Result, ServiceName, SkipLog};

use crate::ask::{Ask, Nothing, Reply};
use crate::config::{Priorities, Shape, Wanted};
use crate::names::Domain;
use crate::zone::Zone;

/// The ttl of negative answers.
pub(crate) const NEGATIVE: u32 = 7;

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) records: Mutex<Vec<Record>>,
    /// A kind whose questions fail.
    pub(crate) failing: Mutex<Option<RecordType>>,
    pub(crate) serial: AtomicU32,
    /// What happens to the records when they were asked for so often.
    pub(crate) turn: Mutex<Option<(usize, Vec<Record>)>>,
    pub(crate) asked: AtomicUsize,
}

impl Table {
    /// Records as `name ttl KIND data`, below `example.org`.
    pub(crate) fn new(lines: &[&str]) -> Arc<Self> {
        let table = Self::default();
        table.set(lines);
        Arc::new(table)
    }

    pub(crate) fn set(&self, lines: &[&str]) {
        *self.records.lock().expect("lock") = lines.iter().map(|line| record(line)).collect();
    }

    pub(crate) fn fail(&self, kind: impl Into<Option<RecordType>>) {
        *self.failing.lock().expect("lock") = kind.into();
    }

    pub(crate) fn zone(self: &Arc<Self>, shape: Shape, port: Option<u16>) -> Zone {
        Zone {
            ask: Arc::clone(self) as Arc<dyn Ask>,
            domain: Domain::parse("example.org").expect("domain"),
            wanted: Wanted {
                shape,
                port,
                priorities: Priorities::Lowest,
            },
            skipped: SkipLog::new(),
        }
    }
}

pub(crate) fn orders() -> ServiceName {
    ServiceName::new("orders").expect("name")
}

fn name(text: &str) -> Name {
    if text == "." {
        return Name::root();
    }
    Name::from_ascii(format!("{text}.example.org.")).expect("name")
}

pub(crate) fn record(line: &str) -> Record {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| u16::from_str(words[at]).expect("number");
    let data = match words[2] {
        "A" => RData::A(A(words[3].parse().expect("ip"))),
        "AAAA" => RData::AAAA(AAAA(words[3].parse().expect("ip"))),
        "CNAME" => RData::CNAME(CNAME(name(words[3]))),
        "PTR" => RData::PTR(PTR(name(words[3]))),
        "SRV" => RData::SRV(SRV::new(number(3), number(4), number(5), name(words[6]))),
        "TXT" => RData::TXT(TXT::new(
            words[3..].iter().map(ToString::to_string).collect(),
        )),
        other => panic!("{other}"),
    };
    Record::from_rdata(name(words[0]), words[1].parse().expect("ttl"), data)
}

#[async_trait]
impl Ask for Table {
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Reply> {
        let count = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((_, records)) = self
            .turn
            .lock()
            .expect("lock")
            .take_if(|turn| turn.0 == count)
        {
            *self.records.lock().expect("lock") = records;
            self.serial.fetch_add(1, Ordering::SeqCst);
        }
        if *self.failing.lock().expect("lock") == Some(kind) {
            return Err(Error::new(ErrorKind::Timeout, "the fake is silent"));
        }
        let records = self.records.lock().expect("lock");
        let here = || records.iter().filter(|record| record.name == *name);
        let wanted = |record: &&Record| {
            record.record_type() == kind || record.record_type() == RecordType::CNAME
        };
        let answers: Vec<Record> = here().filter(wanted).cloned().collect();
        if answers.is_empty() {
            return Ok(Reply::Nothing(Nothing {
                exists: here().next().is_some(),
                ttl: Some(NEGATIVE),
                serial: Some(self.serial.load(Ordering::SeqCst)),
            }));
        }
        let targets: Vec<Name> = answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv.target.clone()),
                _ => None,
            })
            .collect();
        let beside = |record: &&Record| {
            record.record_type() == RecordType::A && targets.contains(&record.name)
        };
        let mut message = Message::response(0, OpCode::Query);
        message.add_answers(answers);
        message.add_additionals(records.iter().filter(beside).cloned().collect::<Vec<_>>());
        Ok(Reply::Records(message))
    }
}
