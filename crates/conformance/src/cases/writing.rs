//! What registering and updating write.

use std::time::Duration;

use waypost_core::{
    Address, Endpoint, ErrorKind, Instance, RegisterOptions, Registry, Value, WatchScope,
};

use super::table;
use crate::check::{Check, always, ensure, eventually, exactly, only};
use crate::context::{Context, MARGIN, instance, service};
use crate::kept::Kept;
use crate::probe::Probe;

table! {
    what_is_written_is_what_others_read []
        "Every field of a record comes back as it was written, to lookups and to watchers."
    registering_again_is_idempotent ["L5"]
        "Registering the same again leaves one record, never absent, with the same content."
    registering_again_writes_what_changed ["L5"]
        "Registering a known node with other content replaces the content within the one call."
    every_changed_field_is_written ["L5"]
        "An update of any field is written within the one call and told to watchers."
    an_unchanged_update_writes_nothing ["L5"]
        "An update that changes nothing is no event to anybody."
    a_renewal_is_no_change []
        "Renewing a lease is no event to anybody."
    an_update_of_another_key_is_a_config_error []
        "A lease holds one record; an update to another name or node is refused."
    an_instance_that_breaks_a_rule_is_refused []
        "A record that breaks a limit is a config error, and leaves nothing."
    a_ttl_below_the_least_is_a_config_error []
        "A ttl below the profile's least is refused, and leaves nothing."
    a_granted_ttl_is_reported []
        "Any ttl from the least upwards is taken, and the lease says what was granted."
    a_read_only_registry_says_unsupported []
        "Where records cannot be written, writing is `Unsupported`, not a failure."
}

fn elaborate() -> Check<Instance> {
    let value = Value {
        name: "Request".to_owned(),
        kind: "Request".to_owned(),
        values: vec![Value {
            name: "name".to_owned(),
            kind: "string".to_owned(),
            values: Vec::new(),
        }],
    };
    let mut endpoint = Endpoint::new("Greeter.Hello");
    endpoint.request = Some(value.clone());
    endpoint.response = Some(value);
    endpoint
        .metadata
        .insert("stream".to_owned(), "true".to_owned());
    let mut instance = instance("greeter", 7)?
        .with_version("1.2.3-rc.1+build é")
        .with_metadata("owner", "“quoted” & <angled> \\ / 日本")
        .with_metadata("empty", "")
        .with_endpoint(endpoint)
        .with_endpoint(Endpoint::new("Greeter.Bye"));
    instance.node.address = Address::new("[2001:db8::7]:65535")?;
    instance.node = instance
        .node
        .with_metadata("dotted.key/with-slash", "x".repeat(600));
    Ok(instance)
}

async fn what_is_written_is_what_others_read(cx: &Context) -> Check {
    let mut bare = instance("greeter", 8)?.with_version("");
    bare.metadata.clear();
    bare.node.metadata.clear();
    let all = [elaborate()?, bare];
    let _stock = cx.stock(&all).await?;
    let other = cx.open().await?;
    eventually(&*other, &service("greeter")?, MARGIN, exactly(&all)).await?;
    let mut probe = Probe::open(&*other, WatchScope::All, cx.told_within()).await?;
    probe.until(cx.told_within(), exactly(&all)).await?;
    Ok(())
}

async fn registering_again_is_idempotent(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (registry, observer) = (cx.open().await?, cx.open().await?);
    let wanted = instance("orders", 1)?;
    let first = cx.register(&*registry, &wanted).await?;
    let mut probe = Probe::open(&*registry, WatchScope::All, cx.told_within()).await?;
    for _ in 0..5 {
        let span = Duration::from_millis(150);
        let present = always(&*observer, &wanted.service, span, only(&wanted));
        let (again, present) = tokio::join!(cx.register(&*registry, &wanted), present);
        present?;
        drop(again?);
    }
    drop(first);
    let quiet = cx.ttl() / 2;
    while let Some(event) = probe.news(quiet).await? {
        let records = probe.records();
        ensure!(
            only(&wanted)(&records).is_none(),
            "registering the same again was told as {event:?}"
        );
    }
    Ok(())
}

async fn registering_again_writes_what_changed(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (registry, before) = (cx.open().await?, instance("orders", 1)?);
    let _first = Kept::start(cx.register(&*registry, &before).await?);
    let mut probe = Probe::open(&*registry, WatchScope::All, cx.told_within()).await?;
    for after in variants(&before)? {
        let lease = cx.register(&*registry, &after).await?;
        shows(cx, &*registry, &mut probe, &after).await?;
        drop(lease);
    }
    Ok(())
}

async fn every_changed_field_is_written(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (registry, before) = (cx.open().await?, instance("orders", 1)?);
    let mut lease = cx.register(&*registry, &before).await?;
    let mut probe = Probe::open(&*registry, WatchScope::All, cx.told_within()).await?;
    for after in variants(&before)? {
        lease.update(&after).await?;
        shows(cx, &*registry, &mut probe, &after).await?;
        lease.renew().await?;
    }
    Ok(())
}

/// The same record, changed in one field each.
fn variants(before: &Instance) -> Check<Vec<Instance>> {
    let mut address = before.clone();
    address.node.address = Address::new("10.1.2.3:4567")?;
    let mut node_pair = before.clone();
    node_pair.node = node_pair.node.with_metadata("weight", "3");
    let mut fewer_pairs = before.clone();
    fewer_pairs.metadata.clear();
    let mut endpoint_pair = Endpoint::new("Orders.List");
    endpoint_pair
        .metadata
        .insert("k".to_owned(), "v".to_owned());
    Ok(vec![
        address,
        before.clone().with_version("2.0.0"),
        before.clone().with_metadata("team", "green"),
        fewer_pairs,
        node_pair,
        before.clone().with_endpoint(Endpoint::new("Orders.List")),
        before.clone().with_endpoint(endpoint_pair),
        before.clone(),
    ])
}

async fn shows(
    cx: &Context,
    registry: &dyn Registry,
    probe: &mut Probe,
    wanted: &Instance,
) -> Check {
    let wanted = [wanted.clone()];
    let seen = registry.lookup(&wanted[0].service).await?;
    if let Some(fault) = exactly(&wanted)(&seen) {
        return Err(crate::check::Stop::Failed(format!(
            "the call is back, but a fresh read has {seen:?}; {fault}"
        )));
    }
    probe.until(cx.told_within(), exactly(&wanted)).await?;
    Ok(())
}

async fn an_unchanged_update_writes_nothing(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (registry, wanted) = (cx.open().await?, elaborate()?);
    let mut lease = cx.register(&*registry, &wanted).await?;
    let mut probe = Probe::open(&*registry, WatchScope::All, cx.told_within()).await?;
    for _ in 0..3 {
        lease.update(&wanted).await?;
        let event = probe.news(cx.ttl() / 8).await?;
        ensure!(
            event.is_none(),
            "an update that changed nothing was told as {event:?}"
        );
    }
    Ok(())
}

async fn a_renewal_is_no_change(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (registry, wanted) = (cx.open().await?, instance("orders", 1)?);
    let mut lease = cx.register(&*registry, &wanted).await?;
    let mut probe = Probe::open(&*registry, WatchScope::All, cx.told_within()).await?;
    for _ in 0..5 {
        lease.renew().await?;
        let event = probe.news(cx.ttl() / 5).await?;
        ensure!(event.is_none(), "a renewal was told as {event:?}");
    }
    Ok(())
}

async fn an_update_of_another_key_is_a_config_error(cx: &Context) -> Check {
    cx.needs_writing()?;
    let (registry, ours) = (cx.open().await?, instance("orders", 1)?);
    let mut lease = cx.register(&*registry, &ours).await?;
    for other in [instance("orders", 2)?, instance("carts", 1)?] {
        let result = lease.update(&other).await;
        let kind = result.as_ref().err().map(waypost_core::Error::kind);
        ensure!(
            kind == Some(ErrorKind::Config),
            "an update of {} to {} gave {result:?}, not a config error",
            ours.key(),
            other.key()
        );
        let seen = registry.lookup(&other.service).await?;
        ensure!(
            !seen.contains(&other),
            "the refused record {} was written",
            other.key()
        );
    }
    let seen = registry.lookup(&ours.service).await?;
    ensure!(seen == [ours], "the lease's own record changed to {seen:?}");
    Ok(())
}

async fn an_instance_that_breaks_a_rule_is_refused(cx: &Context) -> Check {
    cx.needs_writing()?;
    let registry = cx.open().await?;
    let good = instance("orders", 1)?;
    let mut crowded = good.clone();
    for number in 0..65 {
        crowded
            .node
            .metadata
            .insert(format!("k{number}"), String::new());
    }
    let mut renamed = good.clone();
    renamed.service = waypost_core::ServiceName::foreign("a/b")?;
    let mut odd_node = good.clone();
    odd_node.node.id = waypost_core::NodeId::foreign("a/b")?;
    let broken = [
        good.clone().with_metadata("k", "a\r\nHost: x"),
        good.clone().with_metadata("k", "x".repeat(5000)),
        good.with_version("v\n"),
        crowded,
        renamed,
        odd_node,
    ];
    for instance in broken {
        let result = registry.register(&instance, cx.patient()).await;
        let kind = result.as_ref().err().map(waypost_core::Error::kind);
        ensure!(
            kind == Some(ErrorKind::Config),
            "a record that breaks a rule gave {result:?}, not a config error: {instance:?}"
        );
    }
    let seen = registry.services().await?;
    ensure!(seen.is_empty(), "a refused record was written: {seen:?}");
    Ok(())
}

async fn a_ttl_below_the_least_is_a_config_error(cx: &Context) -> Check {
    cx.needs_writing()?;
    let registry = cx.open().await?;
    let least = cx.profile().least_ttl;
    for ttl in [
        Duration::ZERO,
        least / 2,
        least.saturating_sub(Duration::from_millis(1)),
    ] {
        let result = registry
            .register(&instance("orders", 1)?, RegisterOptions::new(ttl))
            .await;
        let kind = result.as_ref().err().map(waypost_core::Error::kind);
        ensure!(
            kind == Some(ErrorKind::Config),
            "a ttl of {ttl:?} with a least of {least:?} gave {result:?}, not a config error"
        );
    }
    let seen = registry.services().await?;
    ensure!(
        seen.is_empty(),
        "a refused registration was written: {seen:?}"
    );
    Ok(())
}

async fn a_granted_ttl_is_reported(cx: &Context) -> Check {
    cx.needs_writing()?;
    let registry = cx.open().await?;
    let least = cx.profile().least_ttl;
    let asked = [
        least,
        least + Duration::from_millis(700),
        Duration::from_secs(30),
        Duration::from_secs(3600),
    ];
    for (number, ttl) in (0..).zip(asked) {
        let wanted = instance("orders", number)?;
        let lease = registry
            .register(&wanted, RegisterOptions::new(ttl))
            .await?;
        let granted = lease.ttl();
        ensure!(!granted.is_zero(), "a ttl of {ttl:?} was granted as zero");
        ensure!(
            granted >= least && granted <= ttl.max(least * 4) + Duration::from_secs(1),
            "a ttl of {ttl:?} was granted as {granted:?}, with a least of {least:?}"
        );
        let seen = registry.lookup(&wanted.service).await?;
        ensure!(
            seen.contains(&wanted),
            "with a ttl of {ttl:?} the record is not there"
        );
        lease.revoke().await?;
    }
    Ok(())
}

async fn a_read_only_registry_says_unsupported(cx: &Context) -> Check {
    if cx.profile().writable {
        return Err(crate::check::Stop::Ignored(
            "profile: writable = true".to_owned(),
        ));
    }
    let registry = cx.open().await?;
    let wanted = instance("orders", 1)?;
    let register = registry
        .register(&wanted, RegisterOptions::new(Duration::from_secs(30)))
        .await;
    let deregister = registry.deregister(&wanted.key()).await;
    for error in [register.err(), deregister.err()] {
        let kind = error.as_ref().map(waypost_core::Error::kind);
        ensure!(
            kind == Some(ErrorKind::Unsupported),
            "writing gave {error:?}, not unsupported"
        );
    }
    Ok(())
}
