//! A password or token is nowhere but where it is needed: in no output however much is logged, on
//! no command line, in no file, and in the `Debug` of nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use waypost::{
    Address, Directory, DirectoryOptions, Drivers, Instance, InstanceKey, Node, NodeId, Origin,
    Registration, RegistrationOptions, ServiceName, Target,
};

use crate::guarded::{CANARY, Guarded, trials as on_each, wait};
use crate::house::{House, PATIENCE, done, now, pause, service, until};

pub(crate) fn trials() -> Vec<Trial> {
    on_each("secrets", the_canary_is_nowhere_to_be_seen)
}

/// The canary as it is, and as the encodings of the wire would show it. Those that depend on what
/// stands before leave out the ends.
const SHAPES: &[&str] = &[
    CANARY,
    // base64, at each of the three offsets
    "UzNDUjNULWNhbmFy",
    "MzQ1IzVC1jYW5h",
    "TM0NSM1QtY2FuYXJ5",
    // bytes in lower-case and upper-case hexadecimal, and as a list
    "5333435233542d63616e617279",
    "5333435233542D63616E617279",
    "83, 51, 67, 82, 51, 84, 45, 99, 97, 110, 97, 114, 121",
    // what Go and percent-encoding would make of it
    "S3CR3T%2Dcanary",
];

fn unseen(what: &str, text: &str) {
    for shape in SHAPES {
        let seen = text.find(shape);
        let near = seen.map(|at| text[at.saturating_sub(200)..].chars().take(300).collect());
        assert_eq!(near, None::<String>, "{what} shows {shape}");
    }
}

/// A command that logs all it can, into files.
struct Loud {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Loud {
    fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let (stdout, stderr) = (
            folder.join(format!("{name}.out")),
            folder.join(format!("{name}.err")),
        );
        let file = |path: &Path| Stdio::from(File::create(path).expect("a file"));
        let child = command
            .env("RUST_LOG", "trace")
            .stdout(file(&stdout))
            .stderr(file(&stderr))
            .spawn()
            .expect("the command starts");
        Self {
            child,
            stdout,
            stderr,
        }
    }

    fn says(&self, needle: &str) {
        let begun = now();
        loop {
            let said = format!("{}{}", read(&self.stdout), read(&self.stderr));
            if said.contains(needle) {
                return;
            }
            let end = said.len().saturating_sub(3000);
            let end = String::from_utf8_lossy(&said.as_bytes()[end..]);
            assert!(
                begun.elapsed() < PATIENCE,
                "{needle:?} was never said: {end}"
            );
            pause(Duration::from_millis(50));
        }
    }

    fn is_unseen_by_others(&self) {
        let line = fs::read(format!("/proc/{}/cmdline", self.child.id())).expect("a process");
        assert!(!line.is_empty());
        unseen("a command line", &String::from_utf8_lossy(&line));
    }

    fn end(mut self) -> String {
        let id = i32::try_from(self.child.id()).expect("an id");
        kill_process(Pid::from_raw(id).expect("an id"), Signal::TERM).expect("the process lives");
        self.child.wait().expect("an end");
        format!("{}{}", read(&self.stdout), read(&self.stderr))
    }
}

impl Drop for Loud {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned()
}

fn the_canary_is_nowhere_to_be_seen(guarded: &Guarded) {
    let house = House::new();
    let url = guarded.url(CANARY);
    let command = |line: &[&str]| {
        let mut command = house.bare(line);
        command.env("MICRO_REGISTRY", &url);
        command
    };
    let json = service("orders", 1);
    let owner = command(&["register", &json, "--register_ttl=5s"]);
    let owner = Loud::start(owner, house.path(), "register");
    owner.says("registered until interrupted");
    let watch = Loud::start(command(&["watch", "-o", "json"]), house.path(), "watch");
    watch.says("orders-1");
    owner.is_unseen_by_others();
    watch.is_unseen_by_others();
    in_this_process(guarded, &house, &url);

    wait(guarded.server.kill()).expect("killed");
    watch.says("watch lost");
    let failed = done(command(&["get", "orders"]).env("RUST_LOG", "trace"));
    assert_eq!(failed.code, 3, "{failed:?}");
    unseen("a failure", &format!("{failed:?}"));
    wait(guarded.server.revive()).expect("revived");
    watch.says("watching again");
    let wrong = guarded.strangers_url("S3CR3T-wrong");
    let mut refused = house.bare(&["deregister", "orders", "orders-1"]);
    let refused = done(
        refused
            .env("MICRO_REGISTRY", wrong)
            .env("RUST_LOG", "trace"),
    );
    assert!(!refused.stderr.contains("S3CR3T-wrong"), "{refused:?}");
    for (what, loud) in [("register", owner), ("watch", watch)] {
        let said = loud.end();
        // Not every client of a server has more to say.
        let loud = said.contains("TRACE") || said.contains("DEBUG");
        assert!(loud, "{what} logs all it can");
        unseen(what, &said);
    }
    for entry in fs::read_dir(house.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            unseen("a file", &read(&path));
        }
    }
}

/// What a program that uses the library could print, and what it leaves on disk.
fn in_this_process(guarded: &Guarded, house: &House, url: &str) {
    let target = Target::parse(url, None, Origin::Environment).expect("a target");
    unseen("a target", &format!("{target:?} {target}"));
    let disk = house.path().join("snapshot");
    let (kept, _directory, _followed) = wait(async {
        let registry = Drivers::builtin()
            .connect(&target)
            .await
            .expect("a registry");
        let name = ServiceName::new("orders").expect("a name");
        let address = Address::new("10.0.0.5:80").expect("an address");
        let node = Node::new(NodeId::new("orders-2").expect("an id"), address);
        let instance = Instance::new(name.clone(), node);
        let options = RegistrationOptions::new().with_ttl(Duration::from_secs(10));
        let kept = Registration::start(registry.clone(), instance, options).expect("kept");
        kept.live().await.expect("live");
        let options = DirectoryOptions::new()
            .with_connect_timeout(Duration::from_secs(20))
            .with_disk(&disk);
        let directory = Directory::new(registry.clone(), options);
        let followed = directory.follow(name).await.expect("followed");
        let shown = format!("{registry:?} {registry:#?} {kept:?} {directory:?} {followed:?}");
        unseen("a registry", &shown);
        (kept, directory, followed)
    });
    let copies = until("there is a copy on disk", || {
        let entries = fs::read_dir(&disk).ok()?.filter_map(Result::ok);
        let copies: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        let whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
        copies.iter().any(whole).then_some(copies)
    });
    for copy in copies {
        unseen("a copy on disk", &read(&copy));
    }
    wait(kept.release()).expect("released");
    let wrong = guarded.strangers_url("S3CR3T-wrong");
    let target = Target::parse(&wrong, None, Origin::Environment).expect("a target");
    let error = wait(async {
        let registry = Drivers::builtin()
            .connect(&target)
            .await
            .expect("a registry");
        let name = ServiceName::new("orders").expect("a name");
        let key = InstanceKey::new(name, NodeId::new("orders-1").expect("an id"));
        registry.deregister(&key).await
    });
    let error = error.expect_err("refused");
    let shown = format!("{error:?} {error:#?} {error} {}", error.chain());
    assert!(!shown.contains("S3CR3T"), "{shown}");
}
