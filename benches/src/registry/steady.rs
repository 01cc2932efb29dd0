//! The CPU that keeping many instances registered takes, in a process that does nothing else.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::{Instant, sleep, sleep_until};
use waypost_core::{Registration, RegistrationOptions, State};

use crate::clock;
use crate::report::{Goal, Row};
use crate::series::Series;

use super::setting::{self, Setting};

const SPACE: &str = "steady";
const TTL: Duration = Duration::from_secs(30);
/// The CPU time is read this often.
const WINDOW: Duration = Duration::from_secs(10);
/// Instances start in groups this far apart, over one interval: their beats are spread then as
/// they are after hours.
const SLOT: Duration = Duration::from_millis(100);

/// What the process that keeps them is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Keep {
    #[arg(long)]
    url: String,
    #[arg(long)]
    nodes: usize,
    #[arg(long)]
    seconds: u64,
    /// Leases alone, with the raw client.
    #[arg(long)]
    raw: bool,
}

/// What it tells.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Percent of one core, a window each.
    percent: Vec<f64>,
    /// Instances that stood as live at the end.
    live: usize,
    /// Megabytes of memory.
    resident: f64,
}

pub(crate) async fn measure(setting: &Setting) -> Result<Vec<Row>> {
    let raw = process(setting, &["--raw"]).await?;
    let kept = process(setting, &[]).await?;
    setting.clear(SPACE).await?;
    let lost = setting.nodes - kept.live;
    let name = format!("keep {} registered, ttl 30 s", setting.nodes);
    let mut row = Row::new(name, "% of a core", Series::new(kept.percent))
        .against(Series::new(raw.percent))
        .goal(Goal::Bound(1.0))
        .note(format!(
            "aim 0.5; processes of their own, {:.0} MB and {:.0} MB; \
             peer: a hundredth of all leases every 100 ms on one raw stream",
            kept.resident, raw.resident
        ));
    if lost > 0 {
        row.doubt = Some(format!("{lost} were not live"));
    }
    Ok(vec![row])
}

/// Runs a process that keeps, and does nothing else.
async fn process(setting: &Setting, more: &[&str]) -> Result<Kept> {
    let program = std::env::current_exe()?;
    let output = Command::new(program)
        .arg("keep")
        .args(["--url", &setting.url(SPACE)])
        .args(["--nodes", &setting.nodes.to_string()])
        .args(["--seconds", &setting.seconds.to_string()])
        .args(more)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    let status = output.status;
    ensure!(status.success(), "the keeping process ended with {status}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Keeps instances registered, or leases alive, and prints what that took.
pub(crate) async fn keep(keep: Keep) -> Result<bool> {
    let told = if keep.raw {
        keep_raw(&keep).await?
    } else {
        keep_registered(&keep).await?
    };
    println!("{}", serde_json::to_string(&told)?);
    Ok(true)
}

async fn keep_registered(keep: &Keep) -> Result<Kept> {
    let registry = setting::connect(&keep.url).await?;
    let options = RegistrationOptions::new().with_ttl(TTL);
    let instances = setting::instances(&setting::service()?, 0, keep.nodes)?;
    let group = group(keep.nodes);
    let mut kept: Vec<Registration> = Vec::with_capacity(keep.nodes);
    let begun = Instant::now();
    for (number, instance) in instances.into_iter().enumerate() {
        sleep_until(begun + SLOT.mul_f64((number / group) as f64)).await;
        kept.push(Registration::start(
            registry.clone(),
            instance,
            options.clone(),
        )?);
    }
    for registration in &kept {
        registration.live().await?;
    }
    sleep(TTL / 3).await;
    let percent = percent(keep.seconds).await;
    Ok(Kept {
        percent,
        live: kept.iter().filter(|one| is_live(one)).count(),
        resident: resident()?,
    })
}

/// As many beats, sent by one task over one stream.
async fn keep_raw(keep: &Keep) -> Result<Kept> {
    let address = keep.url.trim_start_matches("etcd://").split('/').next();
    let mut client = Client::connect([address.unwrap_or_default()], None).await?;
    let mut ids = Vec::with_capacity(keep.nodes);
    for _ in 0..keep.nodes {
        let ttl = i64::try_from(TTL.as_secs())? * 4;
        ids.push(client.lease_grant(ttl, None).await?.id());
    }
    let first = ids.first().copied().context("there is no lease")?;
    let (mut keeper, mut answers) = client.lease_keep_alive(first).await?;
    let group = group(keep.nodes);
    let beating = tokio::spawn(async move {
        let begun = Instant::now();
        for (slot, number) in ids.chunks(group).cycle().zip(0_u32..) {
            sleep_until(begun + SLOT * number).await;
            for id in slot {
                keeper.id = *id;
                keeper.keep_alive().await?;
            }
            for _ in slot {
                answers.message().await?.context("the stream ended")?;
            }
        }
        anyhow::Ok(())
    });
    sleep(TTL / 3).await;
    let percent = percent(keep.seconds).await;
    let live = if beating.is_finished() { 0 } else { keep.nodes };
    beating.abort();
    Ok(Kept {
        percent,
        live,
        resident: resident()?,
    })
}

/// How many beat in one slot, when all beat once an interval.
fn group(nodes: usize) -> usize {
    let slots = (TTL.as_millis() / 3 / SLOT.as_millis()).max(1);
    nodes.div_ceil(usize::try_from(slots).unwrap_or(1)).max(1)
}

/// The CPU time of this process, window by window.
async fn percent(seconds: u64) -> Vec<f64> {
    let mut percent = Vec::new();
    for _ in 0..(seconds / WINDOW.as_secs()).max(1) {
        let (cpu, wall) = (clock::process_cpu(), Instant::now());
        sleep(WINDOW).await;
        let used = clock::process_cpu().saturating_sub(cpu);
        percent.push(100.0 * used.div_duration_f64(wall.elapsed()));
    }
    percent
}

/// Whether an instance stands as live; says so when it does not.
fn is_live(registration: &Registration) -> bool {
    let standing = registration.standing().borrow().clone();
    let live = standing.state == State::Live;
    if !live {
        let cause = standing.cause.map(|cause| cause.chain());
        eprintln!("{:?}: {}", standing.state, cause.unwrap_or_default());
    }
    live
}

/// Megabytes of memory that this process holds.
fn resident() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("no VmRSS")?.parse::<f64>()? / 1024.0)
}
