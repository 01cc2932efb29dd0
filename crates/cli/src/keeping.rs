//! Registrations that a command holds, and what people are told of them.

use std::sync::Arc;

use futures_util::future::join_all;
use waypost::{
    Error, Instance, InstanceKey, Registration, RegistrationOptions, Registry, Result, Standing,
    State,
};

use crate::output::Output;

/// One registration, told of on the standard error whenever it changes.
#[derive(Debug)]
pub(crate) struct Kept {
    key: InstanceKey,
    registration: Registration,
    standing: tokio::sync::watch::Receiver<Standing>,
    told: State,
}

impl Kept {
    pub(crate) fn start(
        registry: Arc<dyn Registry>,
        instance: Instance,
        options: RegistrationOptions,
    ) -> Result<Self> {
        let key = instance.key();
        let registration = Registration::start(registry, instance, options)?;
        let standing = registration.standing();
        Ok(Self {
            key,
            registration,
            standing,
            told: State::Registering,
        })
    }

    /// Waits for the first answer of the registry.
    ///
    /// # Errors
    /// The answer, when it is no.
    pub(crate) async fn begun(&mut self) -> Result<()> {
        let answered = |s: &Standing| s.state == State::Live || s.cause.is_some();
        let Ok(standing) = self.standing.wait_for(answered).await else {
            return Ok(());
        };
        match &standing.cause {
            Some(cause) if standing.state != State::Live => Err(cause.clone()),
            _ => {
                self.told = State::Live;
                Ok(())
            }
        }
    }

    /// Waits for the next change and tells it; for ever where none comes.
    pub(crate) async fn tell(&mut self, output: &Output) {
        loop {
            if self.standing.changed().await.is_err() {
                return std::future::pending().await;
            }
            let (state, cause) = {
                let standing = self.standing.borrow_and_update();
                (standing.state, standing.cause.clone())
            };
            if state == self.told {
                continue;
            }
            self.told = state;
            return self.tell_state(output, state, cause.as_ref());
        }
    }

    fn tell_state(&self, output: &Output, state: State, cause: Option<&Error>) {
        let key = &self.key;
        match (state, cause) {
            (State::Live, _) => output.say(&format!("{key} is registered")),
            (State::Released, _) => output.say(&format!("{key} is deregistered")),
            (state, cause) => {
                let cause = cause.map(|cause| format!(": {}", cause.chain()));
                output.warn(&format!(
                    "registration of {key} is {}{}; trying again",
                    state.as_str(),
                    cause.unwrap_or_default()
                ));
            }
        }
    }

    /// Removes the record; final.
    pub(crate) async fn release(self) -> Result<()> {
        self.registration.release().await
    }
}

/// Tells the next change of any of them.
pub(crate) async fn tell(kept: &mut [Kept], output: &Output) {
    if kept.is_empty() {
        return std::future::pending().await;
    }
    let changes = kept.iter_mut().map(|kept| Box::pin(kept.tell(output)));
    futures_util::future::select_all(changes).await;
}

/// Removes all the records.
///
/// # Errors
/// The first failure, after all have been tried.
pub(crate) async fn release(kept: Vec<Kept>) -> Result<()> {
    let results = join_all(kept.into_iter().map(Kept::release)).await;
    results.into_iter().collect()
}
