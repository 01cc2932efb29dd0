//! The breaks: what somebody might do to the keeper or the directory by mistake.

/// One break of one file.
#[derive(Debug)]
pub(super) struct Mutant {
    /// What is wrong with it.
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    /// Stands in the file once.
    pub(super) find: &'static str,
    pub(super) replace: &'static str,
}

const MACHINE: &str = "crates/core/src/registration/machine.rs";
const TASK: &str = "crates/core/src/registration/task.rs";
const REGISTRATION: &str = "crates/core/src/registration/mod.rs";
const FOLLOW: &str = "crates/core/src/directory/follow.rs";
const ROSTER: &str = "crates/core/src/directory/roster.rs";
const MEMBERS: &str = "crates/core/src/directory/members.rs";
const ENTRY: &str = "crates/core/src/directory/entry.rs";
const DIRECTORY: &str = "crates/core/src/directory/mod.rs";
const DISK: &str = "crates/core/src/directory/disk.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "the keeper gives up after five failures",
        file: MACHINE,
        find: "                self.enter(state, Some(error), now);\n                Next::Register(at)",
        replace: "                self.enter(state, Some(error), now);\n                self.quarrel += 1;\n                let never = now + Duration::from_secs(1_000_000);\n                Next::Register(if self.quarrel > 5 { never } else { at })",
    },
    Mutant {
        name: "the interval ignores the granted ttl",
        file: MACHINE,
        find: "let ttl = self.ttl.unwrap_or(super::DEFAULT_TTL);",
        replace: "let ttl = super::DEFAULT_TTL;",
    },
    Mutant {
        name: "an interval that is not below the granted ttl is kept",
        file: MACHINE,
        find: "Some(interval) if interval < ttl => interval,",
        replace: "Some(interval) => interval,",
    },
    Mutant {
        name: "a renewal that finds the lease lost is only tried again",
        file: MACHINE,
        find: "Input::RenewFailed(error) if error.kind() == ErrorKind::LeaseLost =>",
        replace: "Input::RenewFailed(error) if error.kind() == ErrorKind::NotFound =>",
    },
    Mutant {
        name: "a loss that is told is not heard",
        file: TASK,
        find: "Some(lease) => lease.lost().await,",
        replace: "Some(_) => std::future::pending().await,",
    },
    Mutant {
        name: "a lease that failed for a ttl is still renewed",
        file: MACHINE,
        find: "if left.is_zero() {",
        replace: "if false {",
    },
    Mutant {
        name: "two who claim one record answer each other at once",
        file: MACHINE,
        find: "let (least, spread) = if self.quarrel >= QUARREL {",
        replace: "let (least, spread) = if self.quarrel == u32::MAX {",
    },
    Mutant {
        name: "a fleet returns in one blow",
        file: MACHINE,
        find: "Next::Register(now + least + spread.mul_f64(fastrand::f64()))",
        replace: "Next::Register(now + least)",
    },
    Mutant {
        name: "the backoff of a failure long ago is kept",
        file: MACHINE,
        find: "        self.backoff.reset();\n",
        replace: "",
    },
    Mutant {
        name: "a refusal is tried again as fast as an outage",
        file: MACHINE,
        find: "if !error.is_transient() {\n            return now",
        replace: "if false {\n            return now",
    },
    Mutant {
        name: "beats leave one by one",
        file: MACHINE,
        find: "Next::Renew(clock::slot(at, now))",
        replace: "Next::Renew(at)",
    },
    Mutant {
        name: "a lease is believed in from when the answer came",
        file: MACHINE,
        find: "self.last_success = begun;",
        replace: "self.last_success = now;",
    },
    Mutant {
        name: "the pause after a renewal that failed outlasts the lease",
        file: MACHINE,
        find: "Next::Renew(if hurries { at.min(latest) } else { at })",
        replace: "Next::Renew(at)",
    },
    Mutant {
        name: "a late write after the release recreates the record",
        file: TASK,
        find: "        let from = self.standing.borrow().state;\n        let cause = result.as_ref().err().cloned();",
        replace: "        let again = RegisterOptions::new(self.ttl);\n        let _ = self.registry.register(&self.wanted().0, again).await;\n        let from = self.standing.borrow().state;\n        let cause = result.as_ref().err().cloned();",
    },
    Mutant {
        name: "a release leaves the record to its ttl",
        file: TASK,
        find: "timeout(self.limit, lease.revoke()).await",
        replace: "{\n                    drop(lease);\n                    Ok::<Result<()>, ()>(Ok(()))\n                }",
    },
    Mutant {
        name: "an update that could not be written is forgotten",
        file: TASK,
        find: "            Err(error) => return Input::RenewFailed(error),\n        }\n        // Not",
        replace: "            Err(error) => {\n                self.wrote(generation, None);\n                return Input::RenewFailed(error);\n            }\n        }\n        // Not",
    },
    Mutant {
        name: "operations of the keeper have no deadline",
        file: TASK,
        find: "timeout(self.limit, work).await",
        replace: "Ok::<_, ()>(work.await)",
    },
    Mutant {
        name: "who waits for a turn to write loses its time meanwhile",
        file: TASK,
        find: "        let _turn = turns.acquire().await;\n        let (instance, generation) = self.wanted();\n        let options = RegisterOptions::new(self.ttl);\n        self.machine.begin(Instant::now());\n        let work = self.registry.register(&instance, options);",
        replace: "        let (instance, generation) = self.wanted();\n        let options = RegisterOptions::new(self.ttl);\n        let work = async {\n            let _turn = turns.acquire().await;\n            self.registry.register(&instance, options).await\n        };",
    },
    Mutant {
        name: "a dropped registration goes on renewing",
        file: REGISTRATION,
        find: "        self.task.abort();",
        replace: "        let _ = &self.task;",
    },
    Mutant {
        name: "the shrink guard is off",
        file: ROSTER,
        find: "self.guarding = self.departed.len() > 0 && self.live.len() * 2 < peak;",
        replace: "self.guarding = peak == usize::MAX;",
    },
    Mutant {
        name: "the shrink guard knows the last moment only",
        file: ROSTER,
        find: "        while self.peaks.len() > 1\n            && self\n                .peaks\n                .get(1)\n                .is_some_and(|(at, _)| *at + self.window <= now)\n        {",
        replace: "        while self.peaks.len() > 1 {",
    },
    Mutant {
        name: "the fallback is never forgotten",
        file: ROSTER,
        find: "            && *at + self.window <= now\n        {\n            let Some((at, key))",
        replace: "            && *at + self.window * 1000 <= now\n        {\n            let Some((at, key))",
    },
    Mutant {
        name: "who returns stays in the fallback",
        file: ROSTER,
        find: "            self.departed.remove(&key);\n            self.left_at.remove(&key);\n        }\n        self.live.upsert(instance)",
        replace: "            let _ = key;\n        }\n        self.live.upsert(instance)",
    },
    Mutant {
        name: "a snapshot removes nobody",
        file: ROSTER,
        find: "if fresh.len() < self.live.len() {",
        replace: "if fresh.is_empty() {",
    },
    Mutant {
        name: "an error empties the set",
        file: FOLLOW,
        find: "        if self.board.fail(error.clone(), now) {",
        replace: "        self.roster = Roster::new(Duration::ZERO);\n        let empty = self.roster.publish();\n        self.board.publish(empty);\n        if self.board.fail(error.clone(), now) {",
    },
    Mutant {
        name: "the relist is dropped",
        file: FOLLOW,
        find: "                    self.take_snapshot(state, Some(\"relist\"));",
        replace: "                    drop(state);",
    },
    Mutant {
        name: "a relist is believed before it has caught up",
        file: FOLLOW,
        find: "        while !self.roster.is(&state) {",
        replace: "        while self.roster.is(&HashMap::new()) && !self.roster.is(&state) {",
    },
    Mutant {
        name: "a watch that ended is not opened again",
        file: FOLLOW,
        find: "            self.pause(delay).await;\n        }\n    }",
        replace: "            drop(delay);\n            std::future::pending::<()>().await;\n        }\n    }",
    },
    Mutant {
        name: "a mass departure is what the disk remembers",
        file: FOLLOW,
        find: "let postponed = self.roster.guarding() || !disk.save",
        replace: "let postponed = !disk.save",
    },
    Mutant {
        name: "a scope that nobody reads is followed for ever",
        file: FOLLOW,
        find: "        self.idle_periods += 1;",
        replace: "        self.idle_periods = 1;",
    },
    Mutant {
        name: "changed content is not published",
        file: MEMBERS,
        find: "            if self.table.get(*place) == Some(&instance) {\n                return false;\n            }",
        replace: "            if self.table.get(*place).is_some() {\n                return false;\n            }",
    },
    Mutant {
        name: "the first reader waits for ever",
        file: ENTRY,
        find: "let _ = timeout(limit, status.wait_for(settled)).await;",
        replace: "let _ = timeout(limit * 100, status.wait_for(settled)).await;",
    },
    Mutant {
        name: "what is read while the registry is away passes for live",
        file: ENTRY,
        find: "                status.freshness = Freshness::Stale { since: now };\n            }\n            status.error",
        replace: "                status.freshness = Freshness::Live;\n            }\n            status.error",
    },
    Mutant {
        name: "every reader opens a watch of its own",
        file: DIRECTORY,
        find: "        if let Some(entry) = entries.get(&scope) {\n            return Ok(Arc::clone(entry));\n        }",
        replace: "",
    },
    Mutant {
        name: "more scopes are followed than allowed",
        file: DIRECTORY,
        find: "        if entries.len() >= most {",
        replace: "        if entries.len() == usize::MAX {",
    },
    Mutant {
        name: "the disk snapshot of another scope is believed",
        file: DISK,
        find: "    if read.scope != scope.to_string() {",
        replace: "    if read.scope == \"\\0\" {",
    },
    Mutant {
        name: "a record of the disk snapshot that breaks a limit is served",
        file: DISK,
        find: "Record::Good(one) if scope.covers(&one.service) && one.check_limits().is_ok() => Some(one),",
        replace: "Record::Good(one) if scope.covers(&one.service) => Some(one),",
    },
];
