//! Carries a schedule out in a house, and judges the history.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use waypost_core::Instance;

use crate::agent::Signal;
use crate::backend::Backend;
use crate::bounds::{B as CAP, EPSILON, R, T};
use crate::history::History;
use crate::house::{House, Shape, service};
use crate::observe::{Reader, Watched};
use crate::{Result, ensure};

use super::inject;
use super::mishap::Mishap;
use super::others::Other;
use super::record::{Stamp, What};
use super::schedule::{Round, Schedule};
use super::story::Story;
use super::tape::Tape;
use super::usage::usage;
use super::verdict::{Healing, Verdict};
use super::windows::DIRECT;

/// What is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wish {
    /// On which server.
    pub server: String,
    /// What the schedule is drawn from.
    pub seed: u64,
    /// For how long mishaps come.
    pub lasts: Duration,
    /// Whether the verdict is printed as JSON.
    #[serde(default)]
    pub json: bool,
}

/// Where the run finds and leaves things.
#[derive(Debug, Clone)]
pub struct Places {
    /// The writer's program.
    pub writer: PathBuf,
    /// The folder for histories.
    pub histories: PathBuf,
}

/// What everything heals within after the last mishap of a round is over: a renewal may be due an
/// interval later only, and who failed may wait as long as every backoff does.
const HEALS: Duration = R.saturating_add(CAP).saturating_add(EPSILON);
/// How long everything must stay healed to count as such: what was about to expire has done so.
const STAYS: Duration = EPSILON;
/// How long a second look may take.
const LOOK: Duration = Duration::from_millis(500);
/// How long watches and directories may differ from a fresh list after that.
const CONVERGES: Duration = Duration::from_secs(5);
/// How long a house runs before it counts as warm.
const WARMS: Duration = Duration::from_secs(3);
/// Longest wait for the house to be whole at first.
const OPENS: Duration = Duration::from_secs(30);

/// Draws mishaps from the wish's seed for as long as it asks, against a server of its own; then
/// judges the history. `say` is told of every round as it comes.
///
/// # Errors
/// When the house cannot be opened, or the history not be written. What the house does wrong is no
/// error but part of the verdict.
///
/// # Cancel safety
/// Safe: the server and all processes end with the future.
pub async fn run<B: Backend>(
    wish: &Wish,
    places: &Places,
    mut say: impl FnMut(&str),
) -> Result<Verdict> {
    let Wish { server, seed, .. } = wish;
    let path = places
        .histories
        .join(format!("history-{server}-{seed}.jsonl"));
    let tape = Arc::new(Tape::create(&path)?);
    let shape = Shape {
        ttl: T,
        ..Shape::PROXIED
    };
    tape.record(
        "schedule",
        What::Began {
            server: server.clone(),
            seed: *seed,
            ttl: T.as_micros() as u64,
            slack: (B::SLACK + EPSILON).as_micros() as u64,
            keeps: !B::RETURNS_EXPIRED,
        },
    );
    let history = History::taped(Arc::clone(&tape));
    let house = House::<B>::open_noting(shape, &places.writer, history).await?;
    let mut run = Run::new(house, Arc::clone(&tape)).await?;
    let mut verdict = Verdict::new(wish, &path);
    let done = run.all(wish, &mut verdict, &mut say).await;
    if let Err(error) = done {
        let timeline = run.house.history.render();
        verdict.failed(format!("{error}\n{timeline}"));
    }
    drop(run);
    let story = Story::new(tape.read()?);
    verdict.judge(&story);
    Ok(verdict)
}

struct Run<B> {
    house: House<B>,
    tape: Arc<Tape>,
    /// A raw watch that no network hinders.
    direct: Watched,
    /// Others' services, whose records nobody in the house may ever be told of.
    _others: Vec<Other>,
    _numbers: Option<crate::backend::Numbers>,
}

impl<B: Backend> Run<B> {
    async fn new(house: House<B>, tape: Arc<Tape>) -> Result<Self> {
        let history = house.history.clone();
        let client = house.client().await?;
        let numbers = house.backend.numbers(&house.namespace, history.clone());
        let others = ["orders-other", "order", "orderss"]
            .map(|name| Other::start(Arc::clone(&client), name));
        Ok(Self {
            direct: Watched::start(DIRECT, client, service(), history),
            _others: others.into_iter().collect::<Result<_>>()?,
            _numbers: numbers,
            house,
            tape,
        })
    }

    async fn all(
        &mut self,
        wish: &Wish,
        verdict: &mut Verdict,
        say: &mut impl FnMut(&str),
    ) -> Result<()> {
        self.house.healed(OPENS).await?;
        self.house.converge(OPENS).await?;
        sleep(WARMS).await;
        self.measure(false)?;
        let end = Instant::now() + wish.lasts;
        for round in Schedule::new(wish.seed, T.as_millis() as u64) {
            if Instant::now() >= end {
                break;
            }
            say(&round.to_string());
            verdict.begin(&round);
            let healing = self.round(&round).await?;
            let Healing { seconds, .. } = healing;
            say(&format!("round {}: healed in {seconds:.2} s", round.number));
            verdict.healed(healing);
        }
        self.house.healed(HEALS).await?;
        self.measure(true)?;
        self.stop_writing().await
    }

    /// What must hold after a round: everything heals within the bound, and then neither a watch
    /// nor a directory differs from a fresh list.
    async fn round(&mut self, round: &Round) -> Result<Healing> {
        self.forget();
        self.carry_out(round).await?;
        let took = self.heal(round.number).await?;
        ensure(took <= HEALS, || {
            format!("healing took {took:?}, over R + B + EPSILON = {HEALS:?}")
        })?;
        let converged = self.house.converge(CONVERGES).await?;
        sleep(Duration::from_millis(round.calm)).await;
        Ok(Healing {
            round: round.number,
            seconds: took.as_secs_f64(),
            converged: converged.as_secs_f64(),
        })
    }

    /// What was kept of earlier rounds: memory is measured in the end.
    fn forget(&self) {
        self.house.lookups.restart();
        self.house.readers.iter().for_each(Reader::restart);
        let watches = self.house.watched.iter().chain([&self.direct]);
        watches.for_each(Watched::restart);
        self.house.history.restart();
    }

    async fn carry_out(&mut self, round: &Round) -> Result<()> {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let begins = round.mishaps.iter().enumerate();
        let mut begins: Vec<_> = begins.map(|(place, one)| (at(one.after), place)).collect();
        let mut ends: Vec<(Instant, usize)> = Vec::new();
        loop {
            let next_begin = begins.iter().min().copied();
            let next_end = ends.iter().min().copied();
            let (when, place, begin) = match (next_begin, next_end) {
                (Some((when, place)), None) => (when, place, true),
                (Some((when, place)), Some((end, _))) if when <= end => (when, place, true),
                (_, Some((end, place))) => (end, place, false),
                (None, None) => return Ok(()),
            };
            sleep_until(when).await;
            let mishap = round.mishaps[place].mishap;
            if begin {
                begins.retain(|(_, other)| *other != place);
                let lasts = Duration::from_millis(mishap.lasts());
                let since = Instant::now();
                self.begin(round.number, place, mishap).await?;
                ends.push((since + lasts, place));
            } else {
                ends.retain(|(_, other)| *other != place);
                inject::end(&mut self.house, &mishap).await?;
                let over = What::Over {
                    round: round.number,
                    place,
                };
                self.tape.record("schedule", over);
                self.house
                    .history
                    .note("schedule", format!("over: {mishap}"));
            }
        }
    }

    async fn begin(&mut self, round: usize, place: usize, mishap: Mishap) -> Result<()> {
        let begun = What::Mishap {
            round,
            place,
            mishap,
        };
        self.tape.record("schedule", begun);
        self.house.history.note("schedule", mishap);
        inject::begin(&mut self.house, &mishap).await
    }

    /// Waits until everybody sees everything, and goes on to for a while; returns when that began.
    async fn heal(&mut self, round: usize) -> Result<Duration> {
        let since = Instant::now();
        let patience = 3 * HEALS + CAP;
        loop {
            let left = patience.saturating_sub(since.elapsed());
            self.house.healed(left).await?;
            let took = since.elapsed();
            sleep(STAYS).await;
            if self.direct.is_open() && self.house.healed(LOOK).await.is_ok() {
                self.tape.record("schedule", What::Healed { round });
                return Ok(took);
            }
        }
    }

    fn measure(&self, ended: bool) -> Result<()> {
        self.tape.record("self", usage(None, ended)?);
        for (agent, name) in self
            .house
            .agents
            .iter()
            .zip(["agent-a", "agent-b", "agent-c"])
        {
            let pid = agent.pid().ok_or("a process is not there")?;
            self.tape.record(name, usage(Some(pid), ended)?);
        }
        Ok(())
    }

    /// Stops the writers, and reads afresh when the last news has arrived.
    async fn stop_writing(&mut self) -> Result<()> {
        for agent in &self.house.agents {
            agent.signal(Signal::STOP)?;
        }
        sleep(EPSILON).await;
        let all = self.house.client().await?.lookup(&service()).await?;
        let stamp = |one: &Instance| (one.node.id.to_string(), Stamp::from(one));
        let set = all.iter().map(stamp).collect();
        self.tape.record("lookup", What::Final { set });
        Ok(())
    }
}
