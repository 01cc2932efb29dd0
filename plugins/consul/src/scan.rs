//! What there is in a datacenter, in one number a service and one a record.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use waypost_core::{Error, Result, ServiceName};

use crate::calls::SERVERS;
use crate::error;
use crate::http::{Agent, Since};
use crate::record::Check;

/// The services of a datacenter at one moment, each with numbers that are other ones when anything
/// about the service or a record may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The index of the list of checks, to block on.
    pub(crate) index: u64,
    /// The index of the list of services.
    catalog: u64,
    prints: BTreeMap<ServiceName, Prints>,
    /// How often services had changed without a trace in any number.
    epoch: u64,
}

/// What a scan says of one service.
#[derive(Debug, Default, PartialEq, Eq)]
struct Prints {
    whole: u64,
    /// By the hash of its id: only the owner of a record asks, who looks at each renewal too.
    records: HashMap<u64, u64>,
}

/// What a scan says of one service or record; `None` in it when there is no such one.
pub(crate) type Print = (u64, Option<u64>);

impl Scan {
    /// Scans the services whose names begin with `only` through `agent`, once the list of checks
    /// has changed `since`.
    ///
    /// Two lists are needed: checks tell of life and death, of what is new, and of every change
    /// that we make; the catalog tells of services without checks.
    pub(crate) async fn take(
        agent: &Agent,
        only: &str,
        since: &Since,
        name: impl Fn(&str) -> Option<ServiceName>,
    ) -> Result<Self> {
        let checks = agent.checks(only, since).await?;
        let names = agent.names(only).await?;
        let prints = prints(&checks.what, &names.what, names.index);
        let named = |(text, print)| Some((name(text)?, print));
        Ok(Self {
            index: checks.index,
            catalog: names.index,
            prints: prints.into_iter().filter_map(named).collect(),
            epoch: 0,
        })
    }

    /// Makes this the scan after `before`.
    ///
    /// # Errors
    /// `Unavailable` when the servers went back in time; `Denied` when something has vanished
    /// though nothing was written.
    pub(crate) fn follow(&mut self, before: &Self) -> Result<()> {
        if self.index < before.index || self.catalog < before.catalog {
            return Err(Error::unavailable(
                "the servers went back in time: they were restored, replaced or wiped",
            ));
        }
        let written = (self.index, self.catalog) != (before.index, before.catalog);
        let is_there = |name| self.prints.contains_key(name);
        if !written && !before.prints.keys().all(is_there) {
            return Err(error::vanished());
        }
        // A service changed and no check did: an address, say, by a writer other than us.
        let untraced = self.catalog != before.catalog && self.prints == before.prints;
        self.epoch = before.epoch + u64::from(untraced);
        Ok(())
    }

    /// The services there are.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.prints.keys()
    }

    pub(crate) fn print(&self, service: &ServiceName) -> Print {
        let prints = self.prints.get(service);
        (self.epoch, prints.map(|prints| prints.whole))
    }

    /// The same for the records that a service has under `id`, all in one.
    pub(crate) fn print_of(&self, service: &ServiceName, id: &str) -> Print {
        let prints = self.prints.get(service);
        let print = prints.and_then(|prints| prints.records.get(&hash(id)));
        (self.epoch, print.copied())
    }
}

fn prints<'a>(checks: &'a [Check], names: &'a [String], catalog: u64) -> BTreeMap<&'a str, Prints> {
    // A check of a machine counts for every service on it; only whether it fails matters.
    let mut machines: BTreeMap<&str, u64> = BTreeMap::new();
    for check in checks.iter().filter(|check| check.service_name.is_empty()) {
        let print = machines.entry(&check.node).or_default();
        *print = print.wrapping_add(hash((&check.check_id, check.is_critical())));
    }
    let mut prints: BTreeMap<&str, Prints> = BTreeMap::new();
    for check in checks {
        if matches!(check.service_name.as_str(), "" | SERVERS) {
            continue;
        }
        let machine = machines.get(check.node.as_str());
        let id = (&check.node, &check.service_id, &check.check_id);
        let print = hash((id, &check.status, check.modify_index, machine));
        let service = prints.entry(&check.service_name).or_default();
        let record = service.records.entry(hash(check.service_id.as_str()));
        // Sums, so that the order of the list does not matter.
        for sum in [&mut service.whole, record.or_default()] {
            *sum = sum.wrapping_add(print);
        }
    }
    // Nothing is known of a service without checks but that some service has changed.
    let unknown = hash((catalog, &machines));
    for name in names {
        prints.entry(name).or_insert_with(|| Prints {
            whole: unknown,
            records: HashMap::new(),
        });
    }
    prints
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use waypost_core::ErrorKind;

    use super::*;

    fn check(node: &str, service: &str, status: &str, index: u64) -> Check {
        serde_json::from_value(serde_json::json!({
            "Node": node, "CheckID": format!("c-{service}"), "Status": status,
            "ServiceID": format!("{service}-1"), "ServiceName": service, "ModifyIndex": index,
        }))
        .expect("check")
    }

    fn scan(index: u64, catalog: u64, checks: &[Check], names: &[&str]) -> Scan {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let prints = prints(checks, &names, catalog);
        let name = |name| ServiceName::new(name).expect("name");
        Scan {
            index,
            catalog,
            prints: prints
                .into_iter()
                .map(|(text, print)| (name(text), print))
                .collect(),
            epoch: 0,
        }
    }

    fn changed(before: &Scan, mut after: Scan) -> Vec<String> {
        after.follow(before).expect("a successor");
        let names = before.names().chain(after.names());
        let mut names: Vec<_> = names
            .filter(|name| before.print(name) != after.print(name))
            .map(ServiceName::to_string)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn base() -> Vec<Check> {
        vec![
            check("m1", "", "passing", 1),
            check("m2", "", "passing", 1),
            check("m1", "a", "passing", 5),
            check("m2", "b", "passing", 6),
        ]
    }

    #[test]
    fn only_what_changed_has_another_number() {
        let before = scan(10, 10, &base(), &["a", "b"]);
        assert!(changed(&before, scan(10, 10, &base(), &["a", "b"])).is_empty());
        let mut reordered = base();
        reordered.reverse();
        assert!(changed(&before, scan(11, 10, &reordered, &["a", "b"])).is_empty());

        let mut checks = base();
        checks[2] = check("m1", "a", "critical", 11);
        assert_eq!(changed(&before, scan(11, 10, &checks, &["a", "b"])), ["a"]);
        let mut checks = base();
        checks[3].modify_index = 11;
        assert_eq!(changed(&before, scan(11, 11, &checks, &["a", "b"])), ["b"]);
        let mut checks = base();
        checks[1].status = "critical".to_owned();
        assert_eq!(changed(&before, scan(11, 10, &checks, &["a", "b"])), ["b"]);
        checks[1].status = "warning".to_owned();
        assert!(changed(&before, scan(11, 10, &checks, &["a", "b"])).is_empty());
    }

    #[test]
    fn a_record_has_a_number_of_its_own() {
        let other = |status: &str| {
            let mut other = check("m2", "a", status, 7);
            other.service_id = "a-2".to_owned();
            other
        };
        let scan = |other: Check, modified: u64| {
            let mut checks = base();
            checks.push(other);
            scan(modified, modified, &checks, &["a", "b"])
        };
        let before = scan(other("passing"), 10);
        let mut after = scan(other("critical"), 11);
        after.follow(&before).expect("a successor");
        let service = ServiceName::new("a").expect("name");
        let of = |scan: &Scan, id| scan.print_of(&service, id);
        assert_ne!(of(&before, "a-2"), of(&after, "a-2"));
        assert_eq!(of(&before, "a-1"), of(&after, "a-1"));
        assert!(of(&after, "a-1").1.is_some() && of(&after, "a-3").1.is_none());
    }

    #[test]
    fn services_come_and_go() {
        let before = scan(10, 10, &base(), &["a", "b"]);
        let more = scan(11, 11, &base(), &["a", "b", "c"]);
        assert_eq!(changed(&before, more), ["c"]);
        assert_eq!(changed(&before, scan(11, 11, &base()[..3], &["a"])), ["b"]);
    }

    #[test]
    fn a_service_without_checks_changes_with_the_catalog() {
        let before = scan(10, 10, &base(), &["a", "b", "bare"]);
        assert_eq!(
            changed(&before, scan(12, 12, &base(), &["a", "b", "bare"])),
            ["bare"]
        );
    }

    #[test]
    fn a_change_without_a_trace_makes_all_suspect() {
        let before = scan(10, 10, &base(), &["a", "b"]);
        assert_eq!(
            changed(&before, scan(12, 12, &base(), &["a", "b"])),
            ["a", "b"]
        );
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let before = scan(10, 10, &base(), &["a", "b"]);
        for (mut after, kind) in [
            (scan(9, 10, &base(), &["a", "b"]), ErrorKind::Unavailable),
            (scan(10, 9, &base(), &["a", "b"]), ErrorKind::Unavailable),
            (scan(10, 10, &base()[..3], &["a"]), ErrorKind::Denied),
        ] {
            assert_eq!(after.follow(&before).expect_err("impossible").kind(), kind);
        }
    }
}
