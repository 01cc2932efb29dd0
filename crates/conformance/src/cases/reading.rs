//! What fresh reads answer.

use waypost_core::{Registry, ServiceName, WatchScope};

use super::table;
use crate::Cut;
use crate::check::{Check, Stop, always, ensure, eventually, exactly};
use crate::context::{Context, MARGIN, instance, instances, service};
use crate::probe::Probe;

table! {
    the_profile_tells_the_truth []
        "What a registry says of itself is what its subject promised, and makes sense."
    an_unknown_service_is_empty ["S3"]
        "Looking up a service that nobody registered gives no node and no error."
    services_are_those_with_a_live_node []
        "The list of services names each with a live node, once, in order, and no other."
    an_odd_name_is_looked_up_like_any_other []
        "A name that foreign writers use, `/` and `:` included, can be asked for without an error."
    many_nodes_are_all_found []
        "However many nodes there are, every one of them is found."
    namespaces_do_not_mix []
        "What is registered under another prefix, directory or map is not seen."
    a_dead_backend_is_never_an_empty_answer ["S2", "S3"]
        "A read that cannot be proved empty is an error, never an empty answer."
}

async fn the_profile_tells_the_truth(cx: &Context) -> Check {
    let registry = cx.open().await?;
    let (promised, told) = (cx.profile(), *registry.profile());
    ensure!(
        told == promised,
        "the registry says {told:?}, its subject {promised:?}"
    );
    ensure!(!told.driver.is_empty(), "the driver has no name: {told:?}");
    ensure!(
        !told.least_ttl.is_zero() || !told.writable,
        "the least ttl is zero: {told:?}"
    );
    ensure!(
        registry.skipped().total() == 0,
        "a fresh client has skipped records already"
    );
    Ok(())
}

async fn an_unknown_service_is_empty(cx: &Context) -> Check {
    let stock = cx.stock(&instances("orders", 1)?).await?;
    let seen = stock.registry.lookup(&service("unheard-of")?).await?;
    ensure!(
        seen.is_empty(),
        "a service that nobody registered has {seen:?}"
    );
    let all = stock.registry.services().await?;
    ensure!(
        all == [service("orders")?],
        "looking up changed the services: {all:?}"
    );
    Ok(())
}

async fn services_are_those_with_a_live_node(cx: &Context) -> Check {
    let mut all = instances("zebra", 2)?;
    all.extend(instances("apple", 1)?);
    all.extend(instances("mango", 1)?);
    let mut stock = cx.stock(&all).await?;
    let named =
        |names: &[ServiceName]| names.iter().map(ServiceName::to_string).collect::<Vec<_>>();
    let seen = named(&stock.registry.services().await?);
    ensure!(
        seen == ["apple", "mango", "zebra"],
        "expected apple, mango, zebra; seen: {seen:?}"
    );
    let Some(mango) = stock.kept.pop() else {
        return Ok(());
    };
    mango.stop().await?.revoke().await?;
    let seen = named(&stock.registry.services().await?);
    ensure!(
        seen == ["apple", "zebra"],
        "the last node of mango is gone; seen: {seen:?}"
    );
    Ok(())
}

async fn an_odd_name_is_looked_up_like_any_other(cx: &Context) -> Check {
    let registry = cx.open().await?;
    for name in [
        "a/b",
        "topic:news",
        "ünï",
        "a b",
        "%2e%2e",
        "*",
        "zookeeper",
        "x\\y",
    ] {
        let seen = registry.lookup(&ServiceName::foreign(name)?).await?;
        ensure!(seen.is_empty(), "{name:?} has {seen:?}");
        let scope = WatchScope::Service(ServiceName::foreign(name)?);
        let probe = Probe::open(&*registry, scope, cx.told_within()).await?;
        ensure!(probe.state().is_empty(), "{name:?} has {:?}", probe.state());
    }
    Ok(())
}

async fn many_nodes_are_all_found(cx: &Context) -> Check {
    let all = instances("crowd", 200)?;
    let stock = cx.stock(&all).await?;
    let crowd = service("crowd")?;
    eventually(&*stock.registry, &crowd, cx.told_within(), exactly(&all)).await?;
    let probe = Probe::open(&*stock.registry, WatchScope::All, cx.told_within()).await?;
    let (seen, expected) = (probe.state().len(), all.len());
    ensure!(
        seen == expected,
        "the snapshot of a watch has {seen} records, not {expected}"
    );
    Ok(())
}

async fn namespaces_do_not_mix(cx: &Context) -> Check {
    let (ours, theirs) = (instances("orders", 1)?, instances("orders", 2)?);
    let elsewhere = cx.elsewhere();
    let stock = cx.stock(&ours).await?;
    let other = elsewhere.stock(&theirs).await?;
    let orders = service("orders")?;
    eventually(&*other.registry, &orders, MARGIN, exactly(&theirs)).await?;
    always(&*stock.registry, &orders, MARGIN / 6, exactly(&ours)).await?;
    let probe = Probe::open(&*stock.registry, WatchScope::All, cx.told_within()).await?;
    ensure!(
        exactly(&ours)(&probe.records()).is_none(),
        "a watch of all told of another namespace: {:?}",
        probe.state()
    );
    Ok(())
}

async fn a_dead_backend_is_never_an_empty_answer(cx: &Context) -> Check {
    let _stock = cx.stock(&[instance("orders", 1)?]).await?;
    let warm = cx.open().await?;
    warm.lookup(&service("orders")?).await?;
    cx.cut(Cut::Refuse).await?;
    let outcome = dead_reads(cx, &*warm).await;
    let cold = match cx.open().await {
        Ok(cold) => dead_reads(cx, &*cold).await,
        Err(_) => Err(Stop::failed(
            "opening a client with a dead backend failed; a process must be able to start then",
        )),
    };
    cx.mend().await?;
    outcome.and(cold)
}

async fn dead_reads(cx: &Context, registry: &dyn Registry) -> Check {
    let bound = cx.fails_within();
    for name in ["orders", "unheard-of"] {
        let lookup = tokio::time::timeout(bound, registry.lookup(&service(name)?)).await;
        ensure!(
            !matches!(lookup, Ok(Ok(_))),
            "looking up {name} with a dead backend answered {lookup:?}"
        );
        let scope = WatchScope::Service(service(name)?);
        let watch = Probe::open(registry, scope, bound).await;
        if let Ok(probe) = watch {
            return Err(Stop::Failed(format!(
                "a watch of {name} with a dead backend began with {:?}",
                probe.state()
            )));
        }
    }
    let services = tokio::time::timeout(bound, registry.services()).await;
    ensure!(
        !matches!(services, Ok(Ok(_))),
        "listing services with a dead backend answered {services:?}"
    );
    Ok(())
}
