//! Records that cannot be believed.

use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use waypost_core::{Instance, Registry, WatchScope};

use super::table;
use crate::check::{Check, Stop, ensure, eventually, exactly};
use crate::context::{Context, instances, service};
use crate::probe::Probe;

table! {
    a_bad_record_never_hides_a_good_one ["W7"]
        "Whatever stands beside it, a good record is found by lookups, lists and watchers."
    a_bad_record_is_skipped_and_counted ["W7"]
        "A bad record is left out, counted, and named with the rule that it breaks."
    a_record_that_is_not_its_key_is_skipped []
        "The key is the authority: a record that names another service or node is nobody's."
    a_bad_record_does_not_end_a_watch ["W7"]
        "A record that turns bad under a running watch neither ends it nor stops what follows."
}

/// Bytes that no record may be made of.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let long = "x".repeat(100 << 10);
    let deep = |open: &str| open.repeat(10_000).into_bytes();
    vec![
        ("empty", Vec::new()),
        ("null", b"null".to_vec()),
        ("a-list", b"[]".to_vec()),
        ("no-fields", b"{}".to_vec()),
        ("text", b"not json at all".to_vec()),
        (
            "cut-off",
            br#"{"name":"orders","version":"1","nodes":[{"id":"or"#.to_vec(),
        ),
        ("no-utf-8", b"\xff\xfe\x00{\"name\":\"orders\"}".to_vec()),
        ("deep-lists", deep("[")),
        ("deep-maps", deep("{\"a\":")),
        ("huge-number", br#"{"name":1e999,"nodes":NaN}"#.to_vec()),
        (
            "html",
            b"<html><body>502 Bad Gateway</body></html>".to_vec(),
        ),
        (
            "bad-address",
            record("orders", "bad-address", "169.254.169.254:80"),
        ),
        ("no-port", record("orders", "no-port", "somewhere")),
        (
            "line-break",
            record("orders", "line-break\\r\\nX: y", "10.0.0.1:80"),
        ),
        ("large", vec![b' '; 300 << 10]),
        ("long-name", record(&long, "long-name", "10.0.0.1:80")),
        ("long-node", record("orders", &long, "10.0.0.1:80")),
        (
            "long-address",
            record("orders", "long-address", &format!("{long}://")),
        ),
        (
            "old-spelling",
            record("orders", "old-spelling", "0xa9fea9fe:80"),
        ),
        ("many-nodes", many_nodes()),
    ]
}

/// A record as every go-micro writes it.
fn record(service: &str, node: &str, address: &str) -> Vec<u8> {
    format!(
        r#"{{"name":"{service}","version":"1","metadata":null,"endpoints":null,"nodes":[{{"id":"{node}","address":"{address}","metadata":null}}]}}"#
    )
    .into_bytes()
}

/// A quarter of a megabyte that would take half a gigabyte, were each node given its own copy of
/// what the record says of the service.
fn many_nodes() -> Vec<u8> {
    let pairs = (0..30).map(|n| format!(r#""k{n}":"{}""#, "x".repeat(4000)));
    let nodes = (0..4000).map(|n| format!(r#"{{"id":"n{n}","address":"h:1"}}"#));
    let joined = |parts: Vec<String>| parts.join(",");
    let (pairs, nodes) = (joined(pairs.collect()), joined(nodes.collect()));
    format!(r#"{{"name":"orders","metadata":{{{pairs}}},"nodes":[{nodes}]}}"#).into_bytes()
}

async fn plant_all(cx: &Context) -> Check<usize> {
    let hostile = hostile();
    for (node, bytes) in &hostile {
        cx.plant("orders", node, bytes).await?;
    }
    // A service of which nothing can be believed has no live node.
    cx.plant("ghosts", "ghost-1", b"{").await?;
    Ok(hostile.len())
}

async fn a_bad_record_never_hides_a_good_one(cx: &Context) -> Check {
    plant_all(cx).await?;
    let good = instances("orders", 2)?;
    let stock = cx.stock(&good).await?;
    let fresh = cx.open().await?;
    for registry in [&stock.registry, &fresh] {
        eventually(
            &**registry,
            &service("orders")?,
            cx.told_within(),
            exactly(&good),
        )
        .await?;
        let services = registry.services().await?;
        ensure!(
            services == [service("orders")?],
            "only orders has a live node; the list says {services:?}"
        );
        for scope in [WatchScope::All, WatchScope::Service(service("orders")?)] {
            let mut probe = Probe::open(&**registry, scope, cx.told_within()).await?;
            probe.until(cx.told_within(), exactly(&good)).await?;
        }
    }
    Ok(())
}

async fn a_bad_record_is_skipped_and_counted(cx: &Context) -> Check {
    let planted = plant_all(cx).await?;
    let registry = cx.open().await?;
    let seen = registry.lookup(&service("orders")?).await?;
    ensure!(seen.is_empty(), "a bad record was believed: {seen:?}");
    // One that does not even stand under the service's name is met by whoever lists all.
    let services = registry.services().await?;
    ensure!(services.is_empty(), "a bad record is listed: {services:?}");
    let total = registry.skipped().total();
    ensure!(
        total >= u64::try_from(planted).unwrap_or(u64::MAX),
        "{planted} bad records were read, {total} are counted: {:?}",
        registry.skipped().recent()
    );
    for skipped in registry.skipped().recent() {
        ensure!(
            !skipped.place.is_empty() && !skipped.reason.is_empty(),
            "a skipped record has no place or no reason: {skipped:?}"
        );
        ensure!(
            !skipped.reason.contains(['\n', '\r', '\0']) && skipped.reason.len() < 1000,
            "the reason is not one short line: {:?}",
            skipped.reason
        );
    }
    Ok(())
}

async fn a_record_that_is_not_its_key_is_skipped(cx: &Context) -> Check {
    cx.needs_names()?;
    cx.plant(
        "orders",
        "orders-1",
        &record("carts", "orders-1", "10.0.0.1:80"),
    )
    .await?;
    cx.plant(
        "orders",
        "orders-2",
        &record("orders", "orders-9", "10.0.0.2:80"),
    )
    .await?;
    cx.plant(
        "orders",
        "orders-3",
        &record("orders", "orders-3", "10.0.0.3:80"),
    )
    .await?;
    let registry = cx.open().await?;
    let only = |seen: &[Instance]| {
        let ids: Vec<_> = seen
            .iter()
            .map(|instance| instance.node.id.to_string())
            .collect();
        (ids != ["orders-3"]).then(|| "expected orders-3 alone".to_owned())
    };
    eventually(&*registry, &service("orders")?, cx.told_within(), only).await?;
    let carts = registry.lookup(&service("carts")?).await?;
    ensure!(
        carts.is_empty(),
        "a record under orders is served as {carts:?}"
    );
    let services = registry.services().await?;
    ensure!(
        services == [service("orders")?],
        "the list of services says {services:?}"
    );
    let mut probe = Probe::open(&*registry, WatchScope::All, cx.told_within()).await?;
    probe.until(cx.told_within(), only).await?;
    let skipped = registry.skipped().total();
    ensure!(
        skipped >= 2,
        "two records are not their keys, {skipped} are counted as skipped"
    );
    Ok(())
}

async fn a_bad_record_does_not_end_a_watch(cx: &Context) -> Check {
    let good = instances("orders", 2)?;
    let stock = cx.stock(&good[..1]).await?;
    let scope = WatchScope::Service(service("orders")?);
    let mut probe = Probe::open(&*stock.registry, scope, cx.told_within()).await?;
    plant_all(cx).await?;
    let left = vec![good[0].clone()];
    if cx.profile().writable {
        let _lease = cx.register(&*stock.registry, &good[1]).await?;
        probe.until(cx.told_within(), exactly(&good)).await?;
        // A good record that turns bad is gone, as if it were removed.
        cx.plant("orders", "orders-1", b"{").await?;
    }
    probe.until(cx.told_within(), exactly(&left)).await?;
    counted(&*stock.registry, cx.told_within()).await
}

async fn counted(registry: &dyn Registry, bound: Duration) -> Check {
    let start = Instant::now();
    while registry.skipped().total() == 0 {
        if start.elapsed() > bound {
            return Err(Stop::failed(
                "bad records were seen by a watch, and none is counted",
            ));
        }
        sleep(crate::check::PACE).await;
    }
    Ok(())
}
