//! CPU time a pick: all contenders in turns, on one pinned thread or on two at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use waypost_figures::{Series, pin, thread_cpu};

use crate::allocations;

/// Picks so many times in a row.
pub(crate) type Work = Box<dyn Fn(usize) + Send + Sync>;

/// Somebody who picks.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Whether several threads can pick from it at once.
    pub(crate) shared: bool,
    pub(crate) work: Work,
}

impl Contender {
    pub(crate) fn new(name: &'static str, work: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self {
            name,
            shared: true,
            work: Box::new(work),
        }
    }

    /// One that takes `&mut self` to pick.
    pub(crate) fn exclusive(
        name: &'static str,
        work: impl Fn(usize) + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: false,
            ..Self::new(name, work)
        }
    }
}

/// What one contender showed.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) name: &'static str,
    /// Nanoseconds of CPU a pick.
    pub(crate) cpu: Series,
    pub(crate) allocations: f64,
}

/// How long a turn is to take.
const TURN: Duration = Duration::from_micros(1500);
/// Two threads share the machine for a turn when each had its CPU for so much of it.
const TOGETHER: f64 = 0.8;
/// Times that a turn of two threads is tried when they were not at work at once.
const TRIES: usize = 25;

/// One turn on this thread.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    cpu: Duration,
    wall: Duration,
    allocations: u64,
}

fn turn(contender: &Contender, picks: usize) -> Turn {
    // What the others have driven out of the caches comes back first.
    (contender.work)(picks / 3);
    let (allocated, wall, cpu) = (allocations::so_far(), Instant::now(), thread_cpu());
    (contender.work)(picks);
    let cpu = thread_cpu().saturating_sub(cpu);
    Turn {
        cpu,
        wall: wall.elapsed(),
        allocations: allocations::so_far() - allocated,
    }
}

/// How many picks fill a turn; warms up by the way.
fn picks_a_turn(contender: &Contender) -> usize {
    let mut picks = 1;
    loop {
        let took = turn(contender, picks).cpu;
        if took * 4 >= TURN {
            let each = took.as_secs_f64() / picks as f64;
            return ((TURN.as_secs_f64() / each) as usize).max(1);
        }
        picks *= 2;
    }
}

/// Everybody in turns, `rounds` times, on one thread that stays on one CPU.
pub(crate) fn alone(contenders: &[Contender], rounds: usize) -> Result<Vec<Shown>> {
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| {
            pin(0)?;
            let mut shown: Vec<(usize, Vec<f64>, u64)> = contenders
                .iter()
                .map(|one| (picks_a_turn(one), Vec::new(), 0))
                .collect();
            for _ in 0..rounds {
                for (contender, (picks, cpu, allocations)) in contenders.iter().zip(&mut shown) {
                    let turn = turn(contender, *picks);
                    cpu.push(turn.cpu.as_nanos() as f64 / *picks as f64);
                    *allocations = turn.allocations;
                }
            }
            let named = contenders.iter().zip(shown);
            Ok(named
                .map(|(contender, (picks, cpu, allocations))| Shown {
                    name: contender.name,
                    cpu: Series::new(cpu),
                    allocations: allocations as f64 / picks as f64,
                })
                .collect())
        });
        joined(measuring.join())
    })
}

fn joined<T>(result: std::thread::Result<Result<T>>) -> Result<T> {
    result.unwrap_or_else(|_| Err(anyhow::anyhow!("a measuring thread panicked")))
}

/// Waits for the other one without leaving the CPU, for a while: waking up takes longer than a turn may.
fn meet(ready: &AtomicU64) {
    let (mine, since) = (ready.fetch_add(1, Ordering::AcqRel), Instant::now());
    let both = mine - mine % 2 + 2;
    while ready.load(Ordering::Acquire) < both && since.elapsed() < TURN * 4 {
        std::hint::spin_loop();
    }
}

/// As [`alone`], but every turn on two threads at once, each on a CPU of its own. A turn counts only
/// when both were at work all the while: else they would not have been in each other's way.
pub(crate) fn together(contenders: &[Contender], rounds: usize) -> Result<Vec<Shown>> {
    let contenders: Vec<&Contender> = contenders.iter().filter(|one| one.shared).collect();
    let barrier = Barrier::new(2);
    let picks: Vec<AtomicU64> = contenders.iter().map(|_| AtomicU64::new(0)).collect();
    let turns = Mutex::new([Turn::default(); 2]);
    let ready = AtomicU64::new(0);
    let measure = |thread: usize| -> Result<Vec<Vec<f64>>> {
        let pinned = pin(thread);
        let mut shown = vec![Vec::new(); contenders.len()];
        for (contender, picks) in contenders.iter().zip(&picks) {
            barrier.wait();
            let own = picks_a_turn(contender);
            picks.fetch_max(own as u64, Ordering::Relaxed);
        }
        for _ in 0..rounds {
            for ((contender, picks), shown) in contenders.iter().zip(&picks).zip(&mut shown) {
                for _ in 0..TRIES {
                    barrier.wait();
                    let picks = picks.load(Ordering::Relaxed) as usize;
                    meet(&ready);
                    let mine = turn(contender, picks);
                    turns.lock().unwrap_or_else(PoisonError::into_inner)[thread] = mine;
                    barrier.wait();
                    let both = *turns.lock().unwrap_or_else(PoisonError::into_inner);
                    let busy = |turn: &Turn| turn.cpu.as_secs_f64() / turn.wall.as_secs_f64();
                    if both.iter().all(|turn| busy(turn) > TOGETHER) {
                        let sum: f64 = both.iter().map(|turn| turn.cpu.as_nanos() as f64).sum();
                        shown.push(sum / 2.0 / picks as f64);
                        break;
                    }
                }
            }
        }
        pinned.map(|()| shown)
    };
    let shown = std::thread::scope(|scope| {
        let first = scope.spawn(|| measure(0));
        let second = scope.spawn(|| measure(1));
        let shown = joined(first.join());
        joined(second.join()).and(shown)
    })?;
    let named = contenders.iter().zip(shown);
    Ok(named
        .map(|(contender, cpu)| Shown {
            name: contender.name,
            cpu: Series::new(cpu),
            allocations: 0.0,
        })
        .collect())
}
