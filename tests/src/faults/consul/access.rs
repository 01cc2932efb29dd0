//! Rights that are taken from a token, and a token that is revoked.

use std::time::Duration;

use tokio::time::sleep;
use waypost_core::{Error, ErrorKind};

use crate::backend::Consul;
use crate::bounds::{B as CAP, EPSILON, bound};
use crate::house::{House, Shape};
use crate::{Result, ensure};

use super::super::{Fault, patience, seconds};

/// How long a token is missing: longer than a query blocks.
const REVOKED: Duration = Duration::from_secs(8);
/// How long a right is: an agent looks at it when a query begins, so that the one that is under way
/// tells nothing of it, and the next one does when it ends.
const UNPERMITTED: Duration = Duration::from_secs(15);

pub(super) fn faults() -> Vec<Fault<Consul>> {
    let shape = Shape {
        guarded: true,
        ..Shape::PROXIED
    };
    let law = "when a right is taken away the refusal is told, and what is known is kept";
    vec![
        Fault {
            name: "F25_rights_taken_away",
            law,
            bound: bound!(CAP + EPSILON),
            shape,
            run: |house| Box::pin(unpermitted(house)),
        },
        Fault {
            name: "F25_token_revoked",
            law,
            bound: bound!(CAP + EPSILON),
            shape,
            run: |house| Box::pin(revoked(house)),
        },
    ]
}

/// The agent answers `200 []` to who may not read.
async fn unpermitted(house: &mut House<Consul>) -> Result<f64> {
    house.backend.permit(false).await?;
    refused(house, UNPERMITTED).await?;
    house.backend.permit(true).await?;
    returns(house).await
}

async fn revoked(house: &mut House<Consul>) -> Result<f64> {
    house.backend.issue(false).await?;
    refused(house, REVOKED).await?;
    house.backend.issue(true).await?;
    returns(house).await
}

/// While rights are missing: who must write or read is told so, and keeps what is known.
async fn refused(house: &House<Consul>, during: Duration) -> Result<()> {
    house.history.note("by hand", "took the right away");
    sleep(during).await;
    for agent in &house.agents {
        for (node, told) in agent.reports() {
            ensure(told.kind.as_deref() == Some("denied"), || {
                format!("the owner of {node} tells {told:?}")
            })?;
        }
    }
    for reader in &house.readers {
        let error = reader.account().error;
        let kind = error.as_ref().map(Error::kind);
        ensure(kind == Some(ErrorKind::Denied) && !reader.is_live(), || {
            format!("{} tells {error:?}", reader.name())
        })?;
        let text = error.as_ref().map(Error::chain).unwrap_or_default();
        ensure(text.contains("consul") && text.contains("token"), || {
            format!("the cause is not named: {text}")
        })?;
        let candidates = reader.candidates();
        ensure(candidates == 6, || {
            format!("{} kept {candidates} of 6", reader.name())
        })?;
    }
    Ok(())
}

async fn returns(house: &House<Consul>) -> Result<f64> {
    house.history.note("by hand", "gave the right back");
    seconds(house.healed(patience(CAP + EPSILON)).await?)
}
