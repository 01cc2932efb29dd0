//! Rights that are taken away and given back, tokens that expire, passwords that change.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::ErrorKind;

use crate::backend::{Backend, Etcd};
use crate::bounds::{B as CAP, Bound, EPSILON, bound};
use crate::house::{House, Shape, key, service};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// How long a right is missing.
pub(super) const REFUSED: Duration = Duration::from_secs(8);
/// Who has to log in on the ways that are cut: one process, two directories.
const USERS: f64 = 3.0;

pub(super) fn faults() -> Vec<Fault<Etcd>> {
    let guarded = Shape {
        guarded: true,
        relist: Duration::from_secs(2),
        ..Shape::PROXIED
    };
    let denied = "when a right is taken away the refusal is told, and what is known is kept";
    vec![
        Fault {
            name: "F25_permission_revoked",
            law: denied,
            bound: bound!(CAP + EPSILON),
            shape: guarded,
            run: |house| Box::pin(permission_revoked(house)),
        },
        Fault {
            name: "F25_role_removed",
            law: denied,
            bound: bound!(CAP + EPSILON),
            shape: guarded,
            run: |house| Box::pin(role_removed(house)),
        },
        Fault {
            name: "F26_token_expired",
            law: "an expired token costs one more login, and nobody notices",
            bound: bound!(EPSILON),
            shape: Shape {
                arguments: &["--auth-token-ttl=5"],
                ..guarded
            },
            run: |house| Box::pin(token_expired(house)),
        },
        Fault {
            name: "F26_password_changed",
            law: "a wrong password is tried once a second at most, and the right one heals",
            bound: Bound {
                formula: "1 login/s a client",
                limit: 1.0,
                unit: "1/s",
            },
            shape: Shape {
                arguments: &["--auth-token-ttl=5"],
                relist: Duration::from_secs(60),
                ..guarded
            },
            run: |house| Box::pin(password_changed(house)),
        },
    ]
}

async fn permission_revoked(house: &mut House<Etcd>) -> Result<f64> {
    house.backend.permit(false).await?;
    refused(house).await?;
    house.backend.permit(true).await?;
    returns(house).await
}

async fn role_removed(house: &mut House<Etcd>) -> Result<f64> {
    house.backend.enrol(false).await?;
    refused(house).await?;
    house.backend.enrol(true).await?;
    returns(house).await
}

/// While rights are missing: who must write or read is told so, and keeps what is known.
pub(super) async fn refused<B: Backend>(house: &House<B>) -> Result<()> {
    house.history.note("by hand", "took the right away");
    let [node, _] = house.nodes(0);
    house.backend.remove(&house.namespace, &key(node)?).await?;
    sleep(REFUSED).await;
    let reports = house.agents[0].reports();
    let told = reports.get(node).ok_or("the agent told nothing")?;
    ensure(told.kind.as_deref() == Some("denied"), || {
        format!("the owner of the deleted record tells {told:?}")
    })?;
    for reader in &house.readers {
        let error = reader.account().error;
        let kind = error.as_ref().map(waypost_core::Error::kind);
        ensure(kind == Some(ErrorKind::Denied), || {
            format!("{} tells {error:?}", reader.name())
        })?;
        let candidates = reader.candidates();
        ensure(candidates >= 5, || {
            format!("{} kept {candidates} of 5", reader.name())
        })?;
    }
    Ok(())
}

pub(super) async fn returns<B: Backend>(house: &House<B>) -> Result<f64> {
    house.history.note("by hand", "gave the right back");
    let took = house.healed(patience(CAP + EPSILON)).await?;
    house.bystanders_stay(1)?;
    seconds(took)
}

async fn token_expired(house: &mut House<Etcd>) -> Result<f64> {
    let client = house.client().await?;
    client.lookup(&service()).await?;
    house.backend.add_user().await?;
    house.history.note("by hand", "added a user");
    sleep(REFUSED).await;
    let begun = Instant::now();
    let listed = client.lookup(&service()).await?.len();
    let took = begun.elapsed();
    ensure(listed == 6, || {
        format!("the next call finds {listed} nodes")
    })?;
    for agent in &house.agents {
        let reports = agent.reports();
        let all_live = reports.values().all(|report| report.state == "live");
        ensure(all_live, || format!("an agent noticed: {reports:?}"))?;
    }
    for reader in &house.readers {
        let stale = reader.account().stale.len();
        ensure(stale == 0, || format!("{} went stale", reader.name()))?;
    }
    house.bystanders_stay(0)?;
    seconds(took)
}

async fn password_changed(house: &mut House<Etcd>) -> Result<f64> {
    house.backend.set_password("wrong").await?;
    let logins = house.backend.logins().await?;
    house.ways()?.cut_house();
    let begun = Instant::now();
    sleep(REFUSED).await;
    let more = house.backend.logins().await?.saturating_sub(logins);
    let rate = more as f64 / USERS / begun.elapsed().as_secs_f64();
    house
        .history
        .note("server", format!("was asked for {more} logins"));
    for reader in &house.readers {
        let error = reader.account().error;
        let kind = error.as_ref().map(waypost_core::Error::kind);
        ensure(kind == Some(ErrorKind::Denied), || {
            format!("{} tells {error:?}", reader.name())
        })?;
    }
    house.backend.set_password(crate::backend::PASSWORD).await?;
    house
        .history
        .note("by hand", "gave the right password back");
    let took = house.healed(patience(CAP + EPSILON)).await?;
    ensure(took <= CAP + EPSILON, || format!("healing took {took:?}"))?;
    Ok(rate)
}
