//! What happens to the server: it dies and returns, freezes, forgets everything.

use std::time::Duration;

use tokio::time::sleep;
use waypost_core::{Address, Instance, Node, NodeId, RegisterOptions};

use crate::Result;
use crate::backend::Backend;
use crate::bounds::{B as CAP, EPSILON, R, T, bound};
use crate::house::{House, Shape, service};

use super::{Fault, patience, seconds};

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    let shape = Shape::PLAIN;
    vec![
        Fault {
            name: "F07_server_down_for_two_ttls",
            law: "when a server returns with its data, everything heals, and no record is lost",
            bound: bound!(CAP + EPSILON),
            shape,
            run: |house| Box::pin(down(house, 2 * T)),
        },
        Fault {
            name: "F08_frozen_server_loses_all_leases",
            law: "when every lease expired at once, all nodes return by themselves",
            bound: bound!(R + CAP + EPSILON),
            shape,
            run: |house| Box::pin(frozen(house)),
        },
        Fault {
            name: "F07_server_down_for_five_seconds",
            law: "when a server returns with its data, everything heals, and no record is lost",
            bound: bound!(CAP + EPSILON),
            shape,
            run: |house| Box::pin(down(house, Duration::from_secs(5))),
        },
        Fault {
            name: "F09_server_forgets_everything",
            law: "when a server lost its data, all nodes return, and watches notice",
            bound: bound!(R + CAP + EPSILON),
            shape,
            run: |house| Box::pin(erased(house)),
        },
    ]
}

async fn down<B: Backend>(house: &mut House<B>, pause: Duration) -> Result<f64> {
    house.history.note("server", "is killed");
    house.backend.kill().await?;
    sleep(pause).await;
    house.backend.start().await?;
    house.history.note("server", "serves again");
    let took = house.healed(patience(CAP + EPSILON)).await?;
    if !B::RETURNS_EXPIRED {
        house.bystanders_stay(0)?;
    }
    seconds(took)
}

async fn frozen<B: Backend>(house: &mut House<B>) -> Result<f64> {
    house.history.note("server", "is frozen");
    house.backend.pause().await?;
    sleep(T + B::SLACK + EPSILON).await;
    house.backend.unpause().await?;
    house.history.note("server", "goes on");
    let took = house.healed(patience(R + CAP + EPSILON)).await?;
    seconds(took)
}

async fn erased<B: Backend>(house: &mut House<B>) -> Result<f64> {
    // A record that nobody will write again: that it is gone afterwards shows that all was.
    let id = NodeId::new(&format!("orphan-{:x}", fastrand::u32(..)))?;
    let orphan = Instance::new(service(), Node::new(id, Address::new("127.0.0.1:22000")?));
    let options = RegisterOptions::new(Duration::from_secs(600));
    let lease = house.client().await?.register(&orphan, options).await?;
    house
        .all_see("seven nodes", patience(EPSILON), |set| set.len() == 7)
        .await?;
    house.history.note("server", "is wiped");
    house.backend.wipe().await?;
    house.history.note("server", "serves again, empty");
    let took = house.healed(patience(R + CAP + EPSILON)).await?;
    drop(lease);
    seconds(took)
}
