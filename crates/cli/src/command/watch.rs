//! `waypost watch [NAME]`

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Serialize;
use waypost::{BoxWatcher, Instance, Registry, Service, WatchScope};

use crate::clock;
use crate::failure::{Failure, Outcome, one_line};
use crate::feed::{Action, Feed};
use crate::names;
use crate::output::{Format, Output};
use crate::session::Session;
use crate::style::Paint;

/// How long to wait before a lost watch is begun anew; drawn between this and its double, so that
/// many watchers do not return together.
const PAUSE: Duration = Duration::from_millis(500);

/// One line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<Service>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Service>,
    at: String,
}

pub(super) async fn watch(session: &Session, name: Option<&str>) -> Outcome {
    let scope = match name {
        None => WatchScope::All,
        Some(name) => WatchScope::Service(names::sought(name)?),
    };
    let registry = session.registry().await?;
    let mut feed = Feed::default();
    // A registry that cannot be reached at first is an answer; one that is lost later comes back.
    let mut watcher = begin(session, &*registry, &scope, &mut feed).await?;
    loop {
        let cause = loop {
            match watcher.next().await {
                Some(Ok(event)) => tell_all(&session.output, feed.take(event))?,
                Some(Err(error)) => break error.chain(),
                None => break "the registry ended it".to_owned(),
            }
        };
        session
            .output
            .warn(&format!("watch lost: {cause}; trying again"));
        watcher = again(session, &*registry, &scope, &mut feed).await?;
        session.output.say("watching again");
    }
}

/// Watches, up to and with the snapshot.
async fn begin(
    session: &Session,
    registry: &dyn Registry,
    scope: &WatchScope,
    feed: &mut Feed,
) -> Result<BoxWatcher, Failure> {
    let mut watcher = registry.watch(scope.clone()).await?;
    match session.limited(watcher.next()).await?.transpose()? {
        Some(event) => tell_all(&session.output, feed.take(event))?,
        None => return Err(Failure::registry("the registry ended the watch at once")),
    }
    Ok(watcher)
}

/// Tries to [`begin`] until it works, or until trying is vain.
async fn again(
    session: &Session,
    registry: &dyn Registry,
    scope: &WatchScope,
    feed: &mut Feed,
) -> Result<BoxWatcher, Failure> {
    loop {
        tokio::time::sleep(PAUSE.mul_f64(1.0 + fastrand::f64())).await;
        match begin(session, registry, scope, feed).await {
            Err(failure) if failure.code == crate::failure::REGISTRY => {}
            outcome => return outcome,
        }
    }
}

fn tell_all(output: &Output, actions: Vec<Action>) -> Result<(), Failure> {
    actions
        .into_iter()
        .try_for_each(|action| tell(output, &action))
}

fn tell(output: &Output, action: &Action) -> Result<(), Failure> {
    match (output.format, action) {
        (Format::Json | Format::Yaml, action) => output.value(&json(action)),
        (_, Action::Snapshot(instances)) => {
            let mut sorted = instances.clone();
            sorted.sort_by_key(|instance| instance.key());
            sorted
                .iter()
                .try_for_each(|instance| line(output, "snapshot", instance))
        }
        (_, Action::Create(instance)) => line(output, "create", instance),
        (_, Action::Update(instance)) => line(output, "update", instance),
        (_, Action::Delete(instance)) => line(output, "delete", instance),
    }
}

fn json(action: &Action) -> Line<'_> {
    let one = |action, instance: &Arc<Instance>| Line {
        action,
        services: None,
        service: Some(Service::from(&**instance)),
        at: clock::now(),
    };
    match action {
        Action::Snapshot(instances) => Line {
            action: "snapshot",
            services: Some(Service::group(instances.iter().map(|instance| &**instance))),
            service: None,
            at: clock::now(),
        },
        Action::Create(instance) => one("create", instance),
        Action::Update(instance) => one("update", instance),
        Action::Delete(instance) => one("delete", instance),
    }
}

fn line(output: &Output, action: &str, instance: &Instance) -> Result<(), Failure> {
    let key = one_line(&instance.key().to_string());
    if output.format == Format::Name {
        return output.line(&format!("{action} {key}"));
    }
    let paint = match action {
        "create" => Paint::Green,
        "update" => Paint::Cyan,
        "delete" => Paint::Red,
        _ => Paint::Dim,
    };
    let Instance { version, node, .. } = instance;
    output.line(&format!(
        "{}  {}  {}  {}  {}",
        output.stdout.paint(Paint::Dim, &clock::now()),
        output.stdout.paint(paint, &format!("{action:8}")),
        key,
        node.address,
        one_line(version),
    ))
}
