//! Limits of the server: connections of one address, bytes of one request and of one list.

use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};
use waypost_core::{Address, Directory, DirectoryOptions, Instance, Node, NodeId, RegisterOptions};
use waypost_plugin_kit::codec;
use waypost_testkit::proxy::Manner;

use crate::backend::{Backend, FEW_CONNECTIONS, SMALL_REQUESTS, Zookeeper};
use crate::bounds::{B as CAP, EPSILON, T, bound};
use crate::faults::{Fault, patience, seconds};
use crate::house::{House, Shape, service};
use crate::{Result, ensure};

/// How long there is no connection to be had: the sessions are over meanwhile.
const FULL: Duration = Duration::from_secs(2 * T.as_secs());
/// Connections that take every place: more than the server has.
const SEATS: usize = 20;
/// Good records whose list is long.
const LARGE: usize = 30;
/// Bytes of one of them, at least.
const LARGE_BYTES: usize = 150_000;
/// Bytes of a hostile value: as much as the server takes.
const HOSTILE_BYTES: usize = 1_000_000;

pub(super) fn faults() -> Vec<Fault<Zookeeper>> {
    vec![
        Fault {
            name: "F34_no_connection_left",
            law: "a server that takes no more connections is named as the cause, and all heals \
                  when it does",
            bound: bound!(CAP + EPSILON),
            shape: Shape {
                arguments: &[FEW_CONNECTIONS],
                ..Shape::PROXIED
            },
            run: |house| Box::pin(full(house)),
        },
        Fault {
            name: "F34_record_beyond_the_servers_buffer",
            law: "a record that the server does not take is named as the cause, and costs the \
                  others of its session nothing",
            bound: bound!(EPSILON),
            shape: Shape {
                arguments: &[SMALL_REQUESTS],
                ..Shape::PLAIN
            },
            run: |house| Box::pin(too_large(house)),
        },
        Fault {
            name: "F30_disk_full",
            law: "a server whose disk is full refuses writes and ends; when it has room again all \
                  is as it was",
            bound: bound!(CAP + EPSILON),
            shape: Shape::PLAIN,
            run: |house| Box::pin(disk_full(house)),
        },
        Fault {
            name: "F36_hostile_values",
            law: "values of a megabyte, and what is no record at all, hide no good record",
            bound: bound!(CAP + EPSILON),
            shape: Shape::PLAIN,
            run: |house| Box::pin(hostile(house)),
        },
    ]
}

async fn full(house: &mut House<Zookeeper>) -> Result<f64> {
    // While nobody can dial, their places are taken.
    house.ways()?.behave(Manner::Refuse);
    sleep(EPSILON / 4).await;
    let mut seats = Vec::new();
    for _ in 0..SEATS {
        seats.push(TcpStream::connect(house.backend.address()).await?);
    }
    house.history.note("by hand", "took every connection");
    house.ways()?.mend();
    sleep(FULL).await;
    let reports = house.agents[0].reports();
    for (node, report) in &reports {
        let cause = report.cause.as_deref().unwrap_or_default();
        ensure(cause.contains("maxClientCnxns"), || {
            format!("{node} is {} for {cause:?}", report.state)
        })?;
    }
    drop(seats);
    house.history.note("by hand", "gave them back");
    let took = house.healed(patience(CAP + EPSILON)).await?;
    house.bystanders_stay(1)?;
    seconds(took)
}

async fn too_large(house: &mut House<Zookeeper>) -> Result<f64> {
    let client = house.client().await?;
    let options = RegisterOptions::new(T);
    let small = record("small", 1_000)?;
    let mut lease = client.register(&small, options).await?;
    house
        .all_see("seven nodes", patience(EPSILON), |set| set.len() == 7)
        .await?;
    let before = house.backend.stat(&house.namespace, &small.key()).await?;
    let begun = tokio::time::Instant::now();
    let refused = client
        .register(&record("large", LARGE_BYTES)?, options)
        .await;
    let took = begun.elapsed();
    let error = refused.err().ok_or("the server took it")?.chain();
    ensure(error.contains("jute.maxbuffer"), || {
        format!("the error names no limit: {error}")
    })?;
    timeout(T, lease.renew()).await??;
    let after = house.backend.stat(&house.namespace, &small.key()).await?;
    ensure(before == after, || "the other record was written again")?;
    lease.revoke().await?;
    let six = |set: &crate::observe::Set| set.len() == 6;
    house.all_see("six nodes", patience(EPSILON), six).await?;
    house.bystanders_stay(0)?;
    seconds(took)
}

async fn disk_full(house: &mut House<Zookeeper>) -> Result<f64> {
    let client = house.client().await?;
    client.lookup(&service()).await?;
    house.backend.fill_disk().await?;
    house.history.note("server", "has no room left");
    let options = RegisterOptions::new(T);
    let refused = client.register(&record("late", 1_000)?, options).await;
    let error = refused.err().ok_or("a server without room took a record")?;
    house.history.note("client", error.chain());
    ensure(error.is_transient(), || {
        format!("the refusal is taken for final: {}", error.chain())
    })?;
    drop(client);
    sleep(EPSILON).await;
    // It has ended by itself, mostly.
    let _ = house.backend.kill().await;
    house.backend.start().await?;
    house.history.note("server", "serves again, with room");
    let took = house.healed(patience(CAP + EPSILON)).await?;
    house.bystanders_stay(0)?;
    seconds(took)
}

async fn hostile(house: &mut House<Zookeeper>) -> Result<f64> {
    let namespace = house.namespace.clone();
    let hostile = (0..3).map(|place| (format!("huge-{place}"), vec![b'['; HOSTILE_BYTES]));
    let odd: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("null", b"null"),
        ("broken", b"{\"name\":\"orders\",\"nodes\":[{"),
        ("binary", &[0, 159, 146, 150]),
        (
            "another",
            b"{\"name\":\"users\",\"nodes\":[{\"id\":\"another\"}]}",
        ),
    ];
    let odd = odd.map(|(node, data)| (node.to_owned(), data.to_vec()));
    let good = (0..LARGE).map(|place| record(&format!("large-{place:02}"), LARGE_BYTES));
    let good = good.collect::<Result<Vec<_>, _>>()?;
    let good = good
        .iter()
        .map(|one| (one.node.id.to_string(), codec::encode(one)));
    let backend = &house.backend;
    let all = hostile.chain(odd).chain(good);
    let paths = backend.plant(&namespace, &service(), all).await?;
    let whole = LARGE + 6;
    house
        .all_see("the good ones", patience(EPSILON), |set| set.len() == whole)
        .await?;
    let client = house.client().await?;
    let begun = tokio::time::Instant::now();
    let listed = client.lookup(&service()).await?.len();
    let followed = Directory::new(client.clone(), DirectoryOptions::new());
    let members = followed.follow(service()).await?.members().len();
    let took = begun.elapsed();
    ensure((listed, members) == (whole, whole), || {
        format!("of {whole} records a lookup has {listed} and a directory {members}")
    })?;
    let skipped = client.skipped().total();
    ensure(skipped >= 8, || {
        format!("{skipped} records were skipped, not 8")
    })?;
    house.backend.uproot(&paths).await?;
    let six = |set: &crate::observe::Set| set.len() == 6;
    house.all_see("six nodes", patience(EPSILON), six).await?;
    house.bystanders_stay(0)?;
    seconds(took)
}

/// A record of this service with about so many bytes.
fn record(node: &str, bytes: usize) -> waypost_core::Result<Instance> {
    let mut node = Node::new(NodeId::new(node)?, Address::new("127.0.0.1:21000")?);
    for pair in 0..bytes.div_ceil(4_000) {
        node = node.with_metadata(format!("filler-{pair:02}"), "x".repeat(bytes.min(4_000)));
    }
    Ok(Instance::new(service(), node))
}
