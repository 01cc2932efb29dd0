//! A registry for the tests of this crate: scripted, counted, in memory, under paused time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use tokio::sync::{mpsc, watch};

use crate::{
    Address, BoxWatcher, Change, Error, ErrorKind, Event, Instance, InstanceKey, Lease, Node,
    NodeId, Profile, RegisterOptions, Registry, Result, ServiceName, SkipLog, WatchScope,
};

pub(crate) fn instance(service: &str, node: &str) -> Instance {
    let node = Node::new(
        NodeId::new(node).expect("id"),
        Address::new("10.0.0.1:80").expect("address"),
    );
    Instance::new(ServiceName::new(service).expect("name"), node)
}

/// What a call is to do instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Fail(ErrorKind),
    /// Fails and asks for a pause.
    Busy(Duration),
    Hang,
    /// Registers, and answers nothing.
    Mute,
}

#[derive(Debug)]
pub(crate) struct FakeRegistry {
    skipped: SkipLog,
    pub(crate) state: Arc<FakeState>,
}

#[derive(Debug)]
pub(crate) struct FakeState {
    pub(crate) records: Mutex<BTreeMap<InstanceKey, (u64, Arc<Instance>)>>,
    watchers: Mutex<Vec<mpsc::UnboundedSender<Result<Event>>>>,
    pub(crate) fault: Mutex<Option<Fault>>,
    pub(crate) registers: AtomicUsize,
    pub(crate) renews: AtomicUsize,
    pub(crate) updates: AtomicUsize,
    pub(crate) watches: AtomicUsize,
    owner: watch::Sender<u64>,
    pub(crate) tells_loss: AtomicBool,
}

const PROFILE: Profile = Profile {
    driver: "fake",
    least_ttl: Duration::from_secs(1),
    slack: Duration::ZERO,
    writable: true,
    owned: false,
    tells_loss: true,
    native_watch: true,
    remote: false,
    names_itself: true,
    one_step: true,
    writes_at_once: 256,
};

impl FakeRegistry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            skipped: SkipLog::new(),
            state: Arc::new(FakeState {
                records: Mutex::default(),
                watchers: Mutex::default(),
                fault: Mutex::default(),
                registers: AtomicUsize::new(0),
                renews: AtomicUsize::new(0),
                updates: AtomicUsize::new(0),
                watches: AtomicUsize::new(0),
                owner: watch::Sender::new(0),
                tells_loss: AtomicBool::new(true),
            }),
        })
    }
}

impl FakeState {
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        *self.fault.lock().expect("lock") = fault;
    }

    pub(crate) fn cut_watches(&self) {
        for watcher in self.watchers.lock().expect("lock").drain(..) {
            let _ = watcher.send(Err(Error::unavailable("cut")));
        }
    }

    pub(crate) fn put(&self, instance: Instance) -> u64 {
        let mut owner = 0;
        self.owner.send_modify(|last| {
            *last += 1;
            owner = *last;
        });
        let instance = Arc::new(instance);
        let mut records = self.records.lock().expect("lock");
        records.insert(instance.key(), (owner, Arc::clone(&instance)));
        self.tell(Event::Changed(vec![Change::Upsert(instance)]));
        owner
    }

    pub(crate) fn remove(&self, key: &InstanceKey) {
        self.records.lock().expect("lock").remove(key);
        self.tell(Event::Changed(vec![Change::Remove(key.clone())]));
        self.owner.send_modify(|_| {});
    }

    pub(crate) fn tell(&self, event: Event) {
        let mut watchers = self.watchers.lock().expect("lock");
        watchers.retain(|watcher| watcher.send(Ok(event.clone())).is_ok());
    }

    /// Tells the watch that was opened as this one, of those that are still open.
    pub(crate) fn tell_only(&self, place: usize, event: Event) {
        let watchers = self.watchers.lock().expect("lock");
        watchers[place].send(Ok(event)).expect("it is open");
    }

    pub(crate) fn has(&self, key: &InstanceKey) -> bool {
        self.records.lock().expect("lock").contains_key(key)
    }

    pub(crate) fn open_watchers(&self) -> usize {
        let mut watchers = self.watchers.lock().expect("lock");
        watchers.retain(|watcher| !watcher.is_closed());
        watchers.len()
    }

    async fn gate(&self) -> Result<()> {
        let fault = *self.fault.lock().expect("lock");
        match fault {
            None => Ok(()),
            Some(Fault::Fail(kind)) => Err(Error::new(kind, "scripted")),
            Some(Fault::Busy(pause)) => Err(Error::unavailable("busy").with_retry_after(pause)),
            Some(Fault::Hang | Fault::Mute) => std::future::pending().await,
        }
    }

    fn owner_of(&self, key: &InstanceKey) -> Option<u64> {
        let records = self.records.lock().expect("lock");
        records.get(key).map(|(owner, _)| *owner)
    }
}

#[async_trait]
impl Registry for FakeRegistry {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn skipped(&self) -> &SkipLog {
        &self.skipped
    }

    async fn register(
        &self,
        instance: &Instance,
        options: RegisterOptions,
    ) -> Result<Box<dyn Lease>> {
        self.state.registers.fetch_add(1, Ordering::SeqCst);
        if *self.state.fault.lock().expect("lock") == Some(Fault::Mute) {
            self.state.put(instance.clone());
        }
        self.state.gate().await?;
        let owner = self.state.put(instance.clone());
        Ok(Box::new(FakeLease {
            state: Arc::clone(&self.state),
            key: instance.key(),
            owner,
            ttl: options.ttl,
        }))
    }

    async fn deregister(&self, key: &InstanceKey) -> Result<()> {
        self.state.gate().await?;
        self.state.remove(key);
        Ok(())
    }

    async fn lookup(&self, service: &ServiceName) -> Result<Vec<Instance>> {
        self.state.gate().await?;
        let records = self.state.records.lock().expect("lock");
        let all = records.values().map(|(_, instance)| &**instance);
        Ok(all
            .filter(|found| found.service == *service)
            .cloned()
            .collect())
    }

    async fn services(&self) -> Result<Vec<ServiceName>> {
        self.state.gate().await?;
        let records = self.state.records.lock().expect("lock");
        let mut names: Vec<_> = records.keys().map(|key| key.service.clone()).collect();
        names.dedup();
        Ok(names)
    }

    async fn watch(&self, scope: WatchScope) -> Result<BoxWatcher> {
        self.state.watches.fetch_add(1, Ordering::SeqCst);
        self.state.gate().await?;
        let records = self.state.records.lock().expect("lock");
        let all = records.values().map(|(_, instance)| Arc::clone(instance));
        let snapshot = all.filter(|found| scope.covers(&found.service)).collect();
        let (sender, receiver) = mpsc::unbounded_channel();
        let _ = sender.send(Ok(Event::Snapshot(snapshot)));
        self.state.watchers.lock().expect("lock").push(sender);
        Ok(Box::pin(stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|event| (event, receiver))
        })))
    }
}

#[derive(Debug)]
struct FakeLease {
    state: Arc<FakeState>,
    key: InstanceKey,
    owner: u64,
    ttl: Duration,
}

impl FakeLease {
    fn check(&self) -> Result<()> {
        if self.state.owner_of(&self.key) == Some(self.owner) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::LeaseLost, "the record is not ours"))
    }
}

#[async_trait]
impl Lease for FakeLease {
    fn ttl(&self) -> Duration {
        self.ttl
    }

    async fn renew(&mut self) -> Result<()> {
        self.state.renews.fetch_add(1, Ordering::SeqCst);
        self.state.gate().await?;
        self.check()
    }

    async fn update(&mut self, instance: &Instance) -> Result<()> {
        self.state.updates.fetch_add(1, Ordering::SeqCst);
        self.state.gate().await?;
        self.check()?;
        self.owner = self.state.put(instance.clone());
        Ok(())
    }

    async fn lost(&self) -> Error {
        let mut changes = self.state.owner.subscribe();
        loop {
            if self.state.tells_loss.load(Ordering::SeqCst)
                && let Err(error) = self.check()
            {
                return error;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn revoke(self: Box<Self>) -> Result<()> {
        self.state.gate().await?;
        if self.check().is_ok() {
            self.state.remove(&self.key);
        }
        Ok(())
    }
}
