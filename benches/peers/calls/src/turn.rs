//! One turn: 64 calls in flight on one thread, and the CPU time that they take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use waypost_figures::thread_cpu;

use crate::mode::Mode;
use crate::{grpc, http, ours};

/// Entries where there are many.
const MANY: usize = 10_000;

/// Calls in flight.
pub(crate) const IN_FLIGHT: usize = 64;

/// Who makes one call after the other.
pub(crate) trait Caller: Send + 'static {
    /// Makes one call and checks its answer.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// What one turn showed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Microseconds of this thread's CPU time a call.
    pub(crate) cpu: f64,
    /// Calls a second.
    pub(crate) rate: f64,
    /// Microseconds that calls took.
    pub(crate) median: f64,
    pub(crate) slowest_hundredth: f64,
}

/// Takes a turn and prints what it showed.
pub(crate) fn run(mode: Mode, cpu: usize, calls: u64, servers: &[SocketAddr]) -> Result<()> {
    waypost_figures::pin(cpu)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let turn = runtime.block_on(async {
        match mode {
            Mode::HttpRaw => take(http::raw(servers).await?, calls, 0).await,
            Mode::HttpPool => take(http::pooled(servers)?, calls, 0).await,
            Mode::HttpReqwest => take(http::reqwest(servers)?, calls, 0).await,
            Mode::HttpOurs => take(ours::http(servers, 3).await?, calls, 3).await,
            Mode::HttpOurs10k => take(ours::http(servers, MANY).await?, calls, MANY).await,
            Mode::GrpcChannel => take(grpc::channels(&servers[..1]).await?, calls, 0).await,
            Mode::GrpcThree => take(grpc::channels(servers).await?, calls, 0).await,
            Mode::GrpcBalance => take(grpc::balanced(servers)?, calls, 0).await,
            Mode::GrpcOurs => take(ours::grpc(servers, 3).await?, calls, 3).await,
            Mode::GrpcOurs10k => take(ours::grpc(servers, MANY).await?, calls, MANY).await,
        }
    })?;
    println!("{}", serde_json::to_string(&turn)?);
    Ok(())
}

async fn take<C: Caller>(callers: Vec<C>, calls: u64, entries: usize) -> Result<Turn> {
    // Connections are made, and what is made on the first use of each entry.
    let (callers, _) = rounds(callers, calls / 4 + 4 * entries as u64).await?;
    let (wall, cpu) = (Instant::now(), thread_cpu());
    let (_callers, mut took) = rounds(callers, calls).await?;
    let (cpu, wall) = (thread_cpu().saturating_sub(cpu), wall.elapsed());
    took.sort_unstable();
    let at = |part: usize| took.get(took.len() * part / 100);
    let micros = |part| at(part).map_or(f64::NAN, |nanos| f64::from(*nanos) / 1e3);
    Ok(Turn {
        cpu: cpu.as_secs_f64() * 1e6 / took.len() as f64,
        rate: took.len() as f64 / wall.as_secs_f64(),
        median: micros(50),
        slowest_hundredth: micros(99),
    })
}

/// So many calls in all, and the nanoseconds that each took.
async fn rounds<C: Caller>(callers: Vec<C>, calls: u64) -> Result<(Vec<C>, Vec<u32>)> {
    let begun = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for mut caller in callers {
        let begun = Arc::clone(&begun);
        workers.spawn(async move {
            let mut took = Vec::with_capacity(calls as usize / IN_FLIGHT * 2);
            let mut last = Instant::now();
            while begun.fetch_add(1, Ordering::Relaxed) < calls {
                caller.call().await?;
                let now = Instant::now();
                took.push(u32::try_from((now - last).as_nanos()).unwrap_or(u32::MAX));
                last = now;
            }
            anyhow::Ok((caller, took))
        });
    }
    let (mut callers, mut all) = (Vec::new(), Vec::new());
    while let Some(done) = workers.join_next().await {
        let (caller, took) = done.context("a caller panicked")??;
        callers.push(caller);
        all.extend(took);
    }
    Ok((callers, all))
}
