use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use waypost_core::{Address, ErrorKind, Instance, Node, NodeId, ServiceName, SkipLog, WatchScope};
use waypost_plugin_kit::codec;

use super::*;
use crate::clock::{self, Moment};
use crate::head::Head;

const TTL: Duration = Duration::from_secs(30);

struct Fixture {
    temp: TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("dir");
        let store = Self::store(&temp);
        Self { temp, store }
    }

    fn store(temp: &TempDir) -> Store {
        let place = Place::new(Some(temp.path().to_owned()));
        Store::new(place, SkipLog::new()).expect("store")
    }

    fn register(&self, instance: &Instance) -> crate::head::Owner {
        let record = codec::encode(instance);
        self.store
            .register(&spot(instance), &record, TTL)
            .expect("register")
    }

    fn read(&self, scope: &WatchScope) -> Vec<Instance> {
        let found = self.store.read(scope, &mut |_, _| {}).expect("read");
        let mut all: Vec<_> = found.instances.iter().map(|one| (**one).clone()).collect();
        all.sort_by_key(Instance::key);
        all
    }

    fn all(&self) -> Vec<Instance> {
        self.read(&WatchScope::All)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join("orders").join(name)
    }

    /// Puts a file where the record of `instance` would be, with this boot and deadline.
    fn put(&self, instance: &Instance, boot: &str, deadline: Moment, record: &[u8]) {
        let head = Head {
            boot: boot.to_owned(),
            owner: fastrand::u128(..),
            revision: 0,
            ttl: 30_000,
            deadline,
        };
        let path = spot(instance).path(&self.store.place);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        std::fs::write(path, head.before(record)).expect("write");
    }

    fn boot(&self) -> &str {
        self.store.boot.as_str()
    }
}

fn instance(node: &str) -> Instance {
    let node = Node::new(
        NodeId::new(node).expect("id"),
        Address::new("10.0.0.1:80").expect("address"),
    );
    Instance::new(ServiceName::new("orders").expect("name"), node)
}

fn spot(instance: &Instance) -> Spot {
    Spot::new(&instance.key())
}

#[test]
fn a_record_is_read_by_another_process_until_it_is_revoked() {
    let fixture = Fixture::new();
    let other = Fixture::store(&fixture.temp);
    let a = instance("a");
    let owner = fixture.register(&a);
    let scope = WatchScope::Service(a.service.clone());
    let found = other.read(&scope, &mut |_, _| {}).expect("read");
    assert_eq!(*found.instances[0], a);
    assert!(found.expires.expect("deadline") > clock::now());
    other
        .revoke(&spot(&a), owner + 1)
        .expect("somebody else's revoke");
    assert_eq!(fixture.all(), std::slice::from_ref(&a));
    other.revoke(&spot(&a), owner).expect("revoke");
    assert_eq!(fixture.all(), []);
    assert!(
        !fixture.temp.path().join("orders").exists(),
        "nothing is left"
    );
}

#[test]
fn what_another_boot_left_and_what_has_expired_is_dead() {
    let fixture = Fixture::new();
    let record = |instance: &Instance| codec::encode(instance);
    let (a, b, c) = (instance("a"), instance("b"), instance("c"));
    let other = "00000000-0000-0000-0000-000000000000";
    fixture.put(&a, other, u64::MAX, &record(&a));
    fixture.put(&b, fixture.boot(), clock::now(), &record(&b));
    fixture.put(&c, fixture.boot(), u64::MAX, &record(&c));
    assert_eq!(fixture.all(), [c]);
    assert_eq!(fixture.store.skipped.total(), 0, "the dead are no junk");
}

#[test]
fn the_dead_are_removed_once_they_are_surely_dead() {
    let fixture = Fixture::new();
    let (a, b) = (instance("a"), instance("b"));
    let other = "00000000-0000-0000-0000-000000000000";
    fixture.put(&a, other, u64::MAX, &codec::encode(&a));
    fixture.put(&b, fixture.boot(), clock::now(), &codec::encode(&b));
    fixture.all();
    assert!(!fixture.path("a.json").exists());
    assert!(fixture.path("b.json").exists(), "just expired: left alone");
    let long_ago = clock::now().saturating_sub(11_000_000_000);
    fixture.put(&b, fixture.boot(), long_ago, &codec::encode(&b));
    fixture.all();
    assert!(!fixture.path("b.json").exists());
}

#[test]
fn nobody_is_waited_for_to_tidy_up() {
    let fixture = Fixture::new();
    let a = instance("a");
    fixture.put(&a, fixture.boot(), 0, &codec::encode(&a));
    let held = fixture.store.place.lock(place::Lock::Shared).expect("lock");
    assert_eq!(fixture.all(), []);
    assert!(fixture.path("a.json").exists());
    drop(held);
    assert_eq!(fixture.all(), []);
    assert!(!fixture.path("a.json").exists());
}

#[test]
fn a_renewal_moves_the_deadline_and_nothing_else() {
    let fixture = Fixture::new();
    let a = instance("a");
    let owner = fixture.register(&a);
    let before = std::fs::read(fixture.path("a.json")).expect("file");
    assert!(
        fixture
            .store
            .renew(&spot(&a), owner, TTL * 2)
            .expect("renew")
    );
    let after = std::fs::read(fixture.path("a.json")).expect("file");
    let deadline = |file: &[u8]| Head::parse(file).expect("head").deadline;
    assert!(deadline(&after) > deadline(&before) + 29_000_000_000);
    assert_eq!(before.len(), after.len());
    assert_eq!(fixture.all(), [a]);
}

#[test]
fn the_former_owner_touches_nothing_of_its_successor() {
    let fixture = Fixture::new();
    let (a, moved) = (instance("a"), instance("a").with_version("2"));
    let former = fixture.register(&a);
    fixture.register(&moved);
    let store = &fixture.store;
    let late = a.clone().with_version("late");
    assert!(!store.renew(&spot(&a), former, TTL).expect("renew"));
    assert!(!store.holds(&spot(&a), former).expect("holds"));
    let record = codec::encode(&late);
    assert!(
        !store
            .update(&spot(&a), former, &late, &record, TTL)
            .expect("update")
    );
    store.revoke(&spot(&a), former).expect("revoke");
    assert_eq!(fixture.all(), [moved]);
}

#[test]
fn a_renewal_after_the_deadline_brings_nothing_back() {
    let fixture = Fixture::new();
    let a = instance("a");
    let record = codec::encode(&a);
    let owner = fixture
        .store
        .register(&spot(&a), &record, Duration::ZERO)
        .expect("register");
    assert!(!fixture.store.renew(&spot(&a), owner, TTL).expect("renew"));
    assert!(
        !fixture
            .store
            .update(&spot(&a), owner, &a, &record, TTL)
            .expect("update")
    );
    assert_eq!(fixture.all(), []);
}

#[test]
fn an_update_writes_what_has_changed_and_nothing_else() {
    let fixture = Fixture::new();
    let a = instance("a");
    let owner = fixture.register(&a);
    let update = |instance: &Instance| {
        let record = codec::encode(instance);
        let done = fixture
            .store
            .update(&spot(&a), owner, instance, &record, TTL);
        assert!(done.expect("update"));
        std::fs::read(fixture.path("a.json")).expect("file")
    };
    let before = std::fs::read(fixture.path("a.json")).expect("file");
    assert_eq!(update(&a), before);
    let changed = a.clone().with_version("2");
    assert_ne!(update(&changed), before);
    assert_eq!(fixture.all(), [changed]);
    assert!(
        fixture
            .store
            .renew(&spot(&a), owner, TTL)
            .expect("still ours")
    );
}

#[test]
fn junk_is_skipped_and_counted_and_hides_nothing() {
    let fixture = Fixture::new();
    let good = instance("good");
    fixture.register(&good);
    let (root, boot) = (fixture.temp.path(), fixture.boot().to_owned());
    let record = codec::encode(&good);
    std::fs::write(root.join("stray"), "x").expect("file");
    symlink("/etc", root.join("link")).expect("link");
    std::fs::write(fixture.path("empty.json"), "").expect("file");
    std::fs::write(fixture.path("short.json"), "{\"name\":\"orders\"}").expect("file");
    std::fs::write(fixture.path("latin.json"), [0xff; 400]).expect("file");
    std::fs::write(fixture.path("notes.txt"), "x").expect("file");
    std::fs::create_dir(fixture.path("directory.json")).expect("directory");
    // A record that would be good if it stood here.
    fixture.put(
        &instance("link"),
        &boot,
        u64::MAX,
        &codec::encode(&instance("link")),
    );
    std::fs::rename(fixture.path("link.json"), root.join(".elsewhere")).expect("move");
    symlink(root.join(".elsewhere"), fixture.path("link.json")).expect("link");
    mknodat(
        CWD,
        fixture.path("pipe.json"),
        FileType::Fifo,
        Mode::RWXU,
        0,
    )
    .expect("pipe");
    let deep = [b"{\"name\":".as_slice(), &[b'['; 10_000]].concat();
    fixture.put(&instance("deep"), &boot, u64::MAX, &deep);
    fixture.put(&instance("large"), &boot, u64::MAX, &[b'{'; 1_500_000]);
    fixture.put(&instance("stranger"), &boot, u64::MAX, &record);
    let odd = std::ffi::OsString::from_vec(b"\xff.json".to_vec());
    std::fs::write(root.join("orders").join(odd), "x").expect("file");

    assert_eq!(fixture.all(), std::slice::from_ref(&good));
    let recent = fixture.store.skipped.recent();
    assert_eq!(recent.len(), 13, "{recent:#?}");
    let scope = WatchScope::Service(good.service.clone());
    assert_eq!(fixture.read(&scope), [good]);
    assert_eq!(fixture.store.skipped.total(), 13 + 11);
}

#[test]
fn what_stands_in_a_records_place_does_not_stop_a_registration() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.temp.path().join("orders")).expect("directory");
    for (n, node) in ["a", "b", "c"].into_iter().enumerate() {
        let path = fixture.path(&format!("{node}.json"));
        match n {
            0 => std::fs::write(path, "junk").expect("file"),
            1 => symlink("/etc/passwd", path).expect("link"),
            _ => mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("pipe"),
        }
        fixture.register(&instance(node));
    }
    assert_eq!(fixture.all(), [instance("a"), instance("b"), instance("c")]);
}

#[test]
fn a_directory_that_cannot_be_listed_is_an_error_and_not_empty() {
    let fixture = Fixture::new();
    let path = fixture.temp.path().join("file");
    std::fs::write(&path, "").expect("file");
    let place = Place::new(Some(path.clone()));
    let store = Store::new(place, SkipLog::new()).expect("store");
    let a = instance("a");
    for scope in [WatchScope::All, WatchScope::Service(a.service.clone())] {
        let error = store
            .read(&scope, &mut |_, _| {})
            .expect_err("no directory");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error.to_string().contains(&*path.to_string_lossy()),
            "{error}"
        );
    }
    let error = store
        .register(&spot(&a), b"{}", TTL)
        .expect_err("no directory");
    assert!(
        error.to_string().contains(&*path.to_string_lossy()),
        "{error}"
    );
}

#[test]
fn a_missing_directory_is_an_empty_registry() {
    let temp = tempfile::tempdir().expect("dir");
    let place = Place::new(Some(temp.path().join("not/yet")));
    let store = Store::new(place, SkipLog::new()).expect("store");
    let a = instance("a");
    assert!(
        store
            .read(&WatchScope::All, &mut |_, _| {})
            .expect("read")
            .instances
            .is_empty()
    );
    store.deregister(&spot(&a)).expect("deregister");
    store.revoke(&spot(&a), 1).expect("revoke");
    assert!(!store.renew(&spot(&a), 1, TTL).expect("renew"));
    assert!(!temp.path().join("not").exists(), "a reader makes nothing");
    store
        .register(&spot(&a), &codec::encode(&a), TTL)
        .expect("register");
    assert_eq!(
        store
            .read(&WatchScope::All, &mut |_, _| {})
            .expect("read")
            .instances
            .len(),
        1
    );
}

proptest! {
    #[test]
    fn any_file_is_a_record_or_skipped(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let fixture = Fixture::new();
        let a = instance("a");
        fixture.put(&a, fixture.boot(), u64::MAX, &bytes);
        std::fs::write(fixture.path("b.json"), &bytes).expect("write");
        prop_assert_eq!(fixture.all(), []);
    }
}
