//! A reader that starts while the server is down.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions, ErrorKind, Freshness};

use crate::backend::Backend;
use crate::bounds::{B as CAP, EPSILON, bound};
use crate::house::{House, Shape, service};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// How long a first reader waits, by default.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    let shape = Shape::PLAIN;
    vec![
        Fault {
            name: "S02_cold_start_on_a_dead_server_fails_clearly",
            law: "a first reader of a dead server is told so within the connect timeout",
            bound: bound!(CONNECT_TIMEOUT + EPSILON),
            shape,
            run: |house| Box::pin(without_disk(house)),
        },
        Fault {
            name: "S02_cold_start_serves_the_disk_snapshot",
            law: "a first reader of a dead server is served what was known before, from disk",
            bound: bound!(CONNECT_TIMEOUT + EPSILON),
            shape,
            run: |house| Box::pin(with_disk(house)),
        },
    ]
}

async fn without_disk<B: Backend>(house: &mut House<B>) -> Result<f64> {
    house.backend.kill().await?;
    let directory = Directory::new(house.client().await?, DirectoryOptions::new());
    let begun = Instant::now();
    let followed = directory.follow(service()).await;
    let took = begun.elapsed();
    revive(house).await?;
    let error = followed.err().ok_or("a dead server was followed")?;
    house.history.note("reader", error.chain());
    ensure(error.kind() == ErrorKind::Unavailable, || {
        format!("the error is {}: {}", error.kind(), error.chain())
    })?;
    let text = error.chain();
    let port = house.backend.address().port().to_string();
    ensure(text.contains(&port) && text.contains(B::NAME), || {
        format!("the error names neither server nor driver: {text}")
    })?;
    // The same directory finds the service as soon as the server is back.
    let followed = directory.follow(service()).await?;
    ensure(
        followed.members().len() == 6,
        || "the directory stays empty",
    )?;
    seconds(took)
}

async fn with_disk<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let options = DirectoryOptions::new().with_disk(folder.path());
    let before = Directory::new(house.client().await?, options.clone());
    before.follow(service()).await?;
    let begun = Instant::now();
    while folder.path().read_dir()?.next().is_none() {
        ensure(
            begun.elapsed() < patience(EPSILON),
            || "nothing is written to disk",
        )?;
        sleep(Duration::from_millis(50)).await;
    }
    drop(before);
    house.backend.kill().await?;
    let directory = Directory::new(house.client().await?, options);
    let begun = Instant::now();
    let followed = directory.follow(service()).await;
    let took = begun.elapsed();
    let served = followed.as_ref().map(|followed| followed.members().len());
    let served = served.map_err(Clone::clone);
    revive(house).await?;
    let followed = followed?;
    ensure(matches!(served, Ok(6)), || {
        format!("from disk were served {served:?}")
    })?;
    let begun = Instant::now();
    while followed.freshness() != Freshness::Live {
        ensure(begun.elapsed() <= CAP + EPSILON, || "it stays stale")?;
        sleep(Duration::from_millis(50)).await;
    }
    seconds(took)
}

async fn revive<B: Backend>(house: &mut House<B>) -> Result<()> {
    house.backend.start().await?;
    house.history.note("server", "serves again");
    house.healed(patience(CAP + EPSILON)).await?;
    Ok(())
}
