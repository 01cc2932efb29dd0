//! The loop around a program.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;
use waypost::{Instance, RegistrationOptions, Registry};

use crate::arguments::Run;
use crate::failure::{Failure, Outcome};
use crate::keeping::{self, Kept};
use crate::output::Output;
use crate::signals::{Signals, asks_to_end};
use crate::supervise::{End, Health, Next, Probe, Program, Restarts, Verdict, code};

/// A program, and everything that is needed to keep it running and registered.
pub(super) struct Supervisor<'a> {
    pub(super) arguments: &'a Run,
    pub(super) output: Output,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) instance: Instance,
    pub(super) options: RegistrationOptions,
    pub(super) probe: Probe,
    pub(super) restarts: Restarts,
    pub(super) signals: Signals,
    /// The registration, while there is one.
    pub(super) kept: Vec<Kept>,
    /// Why the program is not well, while it is not.
    pub(super) complaint: Option<String>,
}

impl Supervisor<'_> {
    pub(super) async fn run(mut self) -> Outcome {
        loop {
            let program = Program::start(&self.arguments.command).map_err(|error| {
                let name = self
                    .arguments
                    .command
                    .first()
                    .map(|name| name.to_string_lossy());
                Failure::usage(format!(
                    "cannot run {:?}: {error}",
                    name.unwrap_or_default()
                ))
            })?;
            let end = self.live(program).await?;
            let next = self.restarts.step(end);
            self.tell_end(end, next);
            let Next::Again(_) = next else {
                return Ok(match next {
                    Next::Done(code) => code,
                    Next::Again(_) => 0,
                });
            };
            if let Some(signal) = self.pause().await {
                let code = 128 + signal.as_raw();
                return Ok(u8::try_from(code).unwrap_or(1));
            }
        }
    }

    /// Waits before a restart; a signal that asks to end cuts it short.
    async fn pause(&mut self) -> Option<Signal> {
        tokio::select! {
            () = tokio::time::sleep(self.arguments.restart_delay) => None,
            signal = self.signals.ending() => Some(signal),
        }
    }

    /// One life of the program. When this returns, the program has ended and is not registered.
    async fn live(&mut self, mut program: Program) -> Result<End, Failure> {
        let arguments = self.arguments;
        let mut health = Health::new(
            Instant::now(),
            arguments.start_timeout,
            arguments.hung_after,
        );
        // The first question comes early and is repeated quickly: a start is worth waiting for.
        let mut next = Instant::now();
        loop {
            tokio::select! {
                status = program.wait() => {
                    let end = End::Exited(code(status?));
                    self.leave("has ended").await;
                    return Ok(end);
                }
                signal = self.signals.next() => {
                    if !asks_to_end(signal) {
                        program.signal(signal);
                        continue;
                    }
                    return self.stop(program, signal).await;
                }
                () = keeping::tell(&mut self.kept, &self.output) => {}
                answer = asked(&self.probe, next) => {
                    next = Instant::now() + self.until_next();
                    let verdict = health.step(answer.is_ok(), Instant::now());
                    self.complaint = answer.err();
                    if self.obey(verdict).await? {
                        return Ok(End::Hung(code(program.kill().await?)));
                    }
                }
            }
        }
    }

    /// How long until the program is asked again.
    fn until_next(&self) -> Duration {
        const EAGER: Duration = Duration::from_millis(100);
        let interval = self.arguments.health_interval;
        if self.kept.is_empty() {
            interval.min(EAGER)
        } else {
            interval
        }
    }

    /// Does what a verdict asks for; whether the program is to be killed.
    async fn obey(&mut self, verdict: Verdict) -> Result<bool, Failure> {
        match verdict {
            Verdict::Same => {}
            Verdict::Healthy => {
                let (registry, instance) = (Arc::clone(&self.registry), self.instance.clone());
                self.kept
                    .push(Kept::start(registry, instance, self.options.clone())?);
            }
            Verdict::Unhealthy => self.leave("is unhealthy").await,
            Verdict::Hung => {
                self.leave("hangs").await;
                return Ok(self.restarts.mends());
            }
        }
        Ok(false)
    }

    /// Deregisters, if registered. A registry that cannot be told forgets the record by its ttl.
    async fn leave(&mut self, why: &str) {
        if self.kept.is_empty() {
            return;
        }
        let cause = self.complaint.as_ref().map(|text| format!(" ({text})"));
        let key = self.instance.key();
        match keeping::release(std::mem::take(&mut self.kept)).await {
            Ok(()) => self.output.say(&format!(
                "{key} {why}{}: deregistered",
                cause.unwrap_or_default()
            )),
            Err(error) => self.output.warn(&format!(
                "{key} {why}, but could not be deregistered and goes with its ttl: {}",
                error.chain()
            )),
        }
    }

    /// Deregisters first, so that nobody is sent to a program that is leaving; then stops it.
    async fn stop(&mut self, mut program: Program, signal: Signal) -> Result<End, Failure> {
        self.complaint = None;
        self.leave("is asked to stop").await;
        let status = tokio::select! {
            status = program.stop(signal, self.arguments.stop_timeout) => Some(status?),
            _ = self.signals.ending() => None,
        };
        let status = match status {
            Some(status) => status,
            // Whoever asks twice does not want to wait.
            None => program.kill().await?,
        };
        Ok(End::Stopped(code(status)))
    }

    fn tell_end(&self, end: End, next: Next) {
        let what = match end {
            End::Exited(0) | End::Stopped(_) => return,
            End::Exited(code) => format!("the program ended with {code}"),
            End::Hung(_) => format!(
                "the program hung ({}) and was killed",
                self.complaint.as_deref().unwrap_or("it did not answer")
            ),
        };
        match next {
            Next::Again(time) => self.output.warn(&format!(
                "{what}; restart {time} in {:?}",
                self.arguments.restart_delay
            )),
            Next::Done(_) => self.output.warn(&what),
        }
    }
}

/// Asks the program, not before `at`.
async fn asked(probe: &Probe, at: Instant) -> Result<(), String> {
    tokio::time::sleep_until(at).await;
    probe.ask().await
}
