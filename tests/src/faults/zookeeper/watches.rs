//! Watches that are dropped, or that the server does not have.

use tokio::time::sleep;
use waypost_core::{Address, Instance, Node, NodeId};
use waypost_plugin_kit::codec;
use waypost_testkit::proxy::Manner;

use crate::Result;
use crate::backend::{ANCIENT, Zookeeper};
use crate::bounds::{B as CAP, EPSILON, bound};
use crate::faults::{Fault, patience, seconds};
use crate::house::{House, Shape, service};

/// Records that come and go behind the watches' backs.
const OTHERS: usize = 20;

pub(super) fn faults() -> Vec<Fault<Zookeeper>> {
    let fault = |name, shape| Fault {
        name,
        law: "what changed while a watch was cut is made good, and what changes afterwards is told",
        bound: bound!(CAP + 2 * EPSILON),
        shape,
        run: |house| Box::pin(dropped(house)),
    };
    let ancient = Shape {
        arguments: &[ANCIENT],
        ..Shape::PROXIED
    };
    vec![
        fault("F33_dropped_recursive_watch", Shape::PROXIED),
        fault("F33_server_without_recursive_watches", ancient),
    ]
}

async fn dropped(house: &mut House<Zookeeper>) -> Result<f64> {
    let before = plant(house, "before", OTHERS).await?;
    let seen = |count| move |set: &crate::observe::Set| set.len() == count;
    house
        .all_see("twenty more", patience(EPSILON), seen(OTHERS + 6))
        .await?;
    house.ways()?.behave_to_readers(Manner::Refuse);
    sleep(EPSILON / 2).await;
    house.backend.uproot(&before).await?;
    let after = plant(house, "after", 1).await?;
    house
        .history
        .note("by hand", format!("deleted {OTHERS}, put one"));
    sleep(2 * EPSILON).await;
    house.ways()?.mend();
    let took = house
        .all_see("seven nodes", patience(CAP + 2 * EPSILON), seen(7))
        .await?;
    // The watches are alive again: what happens now needs no relist.
    house.backend.uproot(&after).await?;
    house.all_see("six nodes", 2 * EPSILON, seen(6)).await?;
    house.bystanders_stay(0)?;
    seconds(took)
}

/// Writes records that nobody owns.
async fn plant(house: &House<Zookeeper>, name: &str, count: usize) -> Result<Vec<String>> {
    let records = (0..count).map(|place| {
        let node = format!("{name}-{place:02}");
        let address = Address::new(&format!("127.0.0.1:{}", 21_000 + place))?;
        let instance = Instance::new(service(), Node::new(NodeId::new(&node)?, address));
        Ok((node, codec::encode(&instance)))
    });
    let records = records.collect::<Result<Vec<_>>>()?;
    let namespace = &house.namespace;
    let backend = &house.backend;
    backend
        .plant(namespace, &service(), records.into_iter())
        .await
}
