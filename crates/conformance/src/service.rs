//! A registration over a switch, as a service has it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use waypost_core::{Instance, Registration, RegistrationOptions, Registry, State};

use crate::check::{Check, Stop, eventually, exactly, only};
use crate::context::{Context, MARGIN, instance};
use crate::faults::{Faulty, Switch};

/// A registration over a switch, live.
pub(crate) struct Service {
    pub(crate) registration: Registration,
    pub(crate) switch: Switch,
    pub(crate) record: Instance,
    pub(crate) observer: Arc<dyn Registry>,
}

impl Service {
    pub(crate) async fn back_within(&self, bound: Duration) -> Check {
        let wanted = only(&self.record);
        eventually(&*self.observer, &self.record.service, bound, wanted).await?;
        is_live(&self.registration, MARGIN).await
    }

    pub(crate) async fn gone_within(&self, bound: Duration) -> Check {
        let wanted = exactly(&[]);
        eventually(&*self.observer, &self.record.service, bound, wanted).await?;
        Ok(())
    }
}

pub(crate) async fn live(cx: &Context, ttl: Duration) -> Check<Service> {
    cx.needs_writing()?;
    let (observer, record) = (cx.open().await?, instance("orders", 1)?);
    let (registry, switch) = Faulty::over(cx.open().await?);
    let options = RegistrationOptions::new().with_ttl(ttl);
    let registration = Registration::start(registry, record.clone(), options)?;
    is_live(&registration, cx.told_within()).await?;
    Ok(Service {
        registration,
        switch,
        record,
        observer,
    })
}

pub(crate) async fn is_live(registration: &Registration, bound: Duration) -> Check {
    let mut standing = registration.standing();
    let reached = timeout(
        bound,
        standing.wait_for(|standing| standing.state == State::Live),
    )
    .await;
    match reached {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Stop::Failed(format!(
            "the registration is not live within {bound:?}, but {:?}",
            *registration.standing().borrow()
        ))),
    }
}
