//! What happens between a client and the server: silence, refusal, delay, trickles, cuts.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_testkit::proxy::{Link, Manner, Proxy};

use crate::backend::Backend;
use crate::bounds::{B as CAP, Bound, EPSILON, K, NONE, bound};
use crate::house::{House, Shape, connect, service};
use crate::{Result, ensure};

use super::{Fault, patience, seconds};

/// How long a network stays broken in the faults below, unless they say otherwise.
const BROKEN: Duration = Duration::from_secs(10);
/// How long a bad connection is used.
const BAD: Duration = Duration::from_secs(6);
/// How long it stays silent.
const SILENT: Duration = Duration::from_secs(30);
/// Registrations on the way of the first process, and directories on theirs.
const EACH: f64 = 2.0;
/// How late the end of a connection is told.
const LATE: Duration = Duration::from_secs(5);
/// The longest time that an operation of a client here may take.
const OPERATION: Duration = Duration::from_secs(2);

pub(super) fn faults<B: Backend>() -> Vec<Fault<B>> {
    let shape = Shape::PROXIED;
    let rough = Shape {
        ttl: Duration::from_secs(10),
        ..shape
    };
    let mut all = vec![
        Fault {
            name: "F19_silent_network",
            law: "a network that drops everything is noticed by the unanswered ping",
            bound: bound!(K + EPSILON),
            shape,
            run: |house| Box::pin(silent(house)),
        },
        Fault {
            name: "F20_connections_are_reset",
            law: "a server that resets every connection is dialled once a second at most by each \
                  registration or directory, unevenly",
            bound: Bound {
                formula: "1 dial/s a registration or directory",
                limit: 1.0,
                unit: "1/s",
            },
            shape,
            run: |house| Box::pin(reset(house)),
        },
        Fault {
            name: "F20_connections_are_refused",
            law: "when nobody listened for a while, everything heals",
            bound: bound!(CAP + EPSILON),
            shape,
            run: |house| Box::pin(refused(house)),
        },
        Fault {
            name: "F21_slow_and_uneven_network",
            law: "a slow and uneven network removes nobody and breaks no connection",
            bound: bound!(NONE),
            shape: rough,
            run: |house| Box::pin(uneven(house)),
        },
    ];
    all.push(Fault {
        name: "F22_slow_close",
        law: "those who learn late that the server had gone heal when they learn it",
        bound: bound!(CAP + EPSILON),
        shape,
        run: |house| Box::pin(slow_close(house)),
    });
    all.extend(slow());
    all
}

/// The slow and the broken ways of F22.
fn slow<B: Backend>() -> Vec<Fault<B>> {
    let bound = bound!(OPERATION + EPSILON);
    let law = "an operation over a bad connection ends with its deadline, and reads are served";
    let fault = |name, run| Fault {
        name,
        law,
        bound,
        shape: Shape::PROXIED,
        run,
    };
    vec![
        fault("F22_latency_of_ten_seconds", |house| {
            let link = Link::default().with_latency(Duration::from_secs(10));
            Box::pin(bad(house, "delayed by 10 s", link))
        }),
        fault("F22_one_kilobyte_a_second", |house| {
            let link = Link::default().with_bandwidth(1000);
            Box::pin(bad(house, "1 KB/s", link))
        }),
        fault("F22_slices_of_three_bytes", |house| {
            let link = Link::default().with_slice(3);
            Box::pin(bad(house, "three bytes at a time", link))
        }),
        fault("F22_cut_within_a_frame", |house| {
            let link = Link::default().with_limit(100);
            Box::pin(bad(house, "closed after 100 bytes", link))
        }),
    ]
}

async fn silent<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let begun = Instant::now();
    house.ways()?.behave(Manner::Hold);
    sleep(SILENT).await;
    let mut noticed = Duration::ZERO;
    for reader in &house.readers {
        let stale = reader.account().stale;
        let at = stale.first().ok_or("a directory did not notice")?;
        noticed = noticed.max(*at - begun);
    }
    for watched in &house.watched {
        let failures = watched.failures();
        let (at, _) = failures.first().ok_or("a watch did not notice")?;
        noticed = noticed.max(*at - begun);
    }
    house.ways()?.mend();
    heals(house).await?;
    house.bystanders_stay(1)?;
    seconds(noticed)
}

async fn reset<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let ways = house.ways()?;
    let begun = Instant::now();
    ways.behave(Manner::Reset);
    let (agent, readers) = tokio::join!(
        dials(ways.agent(), 2 * BROKEN),
        dials(ways.readers(), 2 * BROKEN)
    );
    let spent = begun.elapsed().as_secs_f64();
    let mut worst = 0.0_f64;
    for (name, dials) in [("agent-a", agent), ("the directories", readers)] {
        house
            .history
            .note("network", format!("{name} dialled {} times", dials.len()));
        ensure(dials.len() >= 3 && is_uneven(&dials), || {
            format!("{name} dialled {} times, too evenly", dials.len())
        })?;
        worst = worst.max(dials.len() as f64 / EACH / spent);
    }
    house.ways()?.mend();
    heals(house).await?;
    house.bystanders_stay(1)?;
    Ok(worst)
}

/// When a way was dialled, as far as looking at it every 5 ms tells.
async fn dials(way: &Proxy, during: Duration) -> Vec<Instant> {
    let begun = Instant::now();
    let mut known = way.accepted();
    let mut dials = Vec::new();
    while begun.elapsed() < during {
        sleep(Duration::from_millis(5)).await;
        let now = way.accepted();
        dials.extend(std::iter::repeat_n(Instant::now(), now - known));
        known = now;
    }
    dials
}

/// Whether the gaps differ as drawn ones do: their deviation is a tenth of their mean at least.
fn is_uneven(dials: &[Instant]) -> bool {
    let gaps: Vec<f64> = dials
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    variance.sqrt() > mean / 10.0
}

async fn refused<B: Backend>(house: &mut House<B>) -> Result<f64> {
    house.ways()?.behave(Manner::Refuse);
    sleep(BROKEN).await;
    house.ways()?.mend();
    let took = house.healed(patience(CAP + EPSILON)).await?;
    house.bystanders_stay(1)?;
    seconds(took)
}

async fn uneven<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let link = Link::default()
        .with_latency(Duration::from_millis(200))
        .with_jitter(Duration::from_millis(100))
        .with_bandwidth(1_000_000);
    house.ways()?.shape("200 ms +- 100 ms, 1 MB/s", &link);
    let begun = Instant::now();
    while begun.elapsed() < 2 * BROKEN {
        // What is lost arrives a retransmission later.
        sleep(Duration::from_millis(fastrand::u64(200..1000))).await;
        house.ways()?.behave(Manner::Hold);
        sleep(Duration::from_millis(fastrand::u64(200..400))).await;
        house.ways()?.behave(Manner::Forward);
    }
    let nodes = house
        .nodes(0)
        .map(|node| house.lookups.absence(node, house.begun));
    let stale = house
        .readers
        .iter()
        .map(|reader| reader.account().stale.len());
    let ended = house.watched.iter().map(|watched| watched.failures().len());
    let broken = stale.chain(ended).sum::<usize>();
    house.ways()?.mend();
    ensure(broken == 0, || {
        format!("{broken} connections were given up")
    })?;
    house.bystanders_stay(1)?;
    seconds(nodes.into_iter().max().unwrap_or_default())
}

/// Treats the ways badly, new connections included, and measures operations of a client on them.
async fn bad<B: Backend>(house: &mut House<B>, what: &str, link: Link) -> Result<f64> {
    let ways = house.ways()?;
    ways.shape_house(what, &link);
    let via = ways.readers().address().parse()?;
    let client = connect(&house.backend.url(via, &house.namespace)).await?;
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < BAD {
        let asked = Instant::now();
        let answer = client.lookup(&service()).await;
        let took = asked.elapsed();
        if took > slowest {
            slowest = took;
            let answer = answer.map_or_else(|error| error.chain(), |_| "an answer".to_owned());
            house
                .history
                .note("client", format!("after {took:?}: {answer}"));
        }
        sleep(Duration::from_millis(250)).await;
    }
    for reader in &house.readers {
        let slow = reader.account().slowest;
        ensure(slow < EPSILON, || format!("a read took {slow:?}"))?;
    }
    // What is on its way over a slow link would arrive long after.
    house.ways()?.renew();
    heals(house).await?;
    house.bystanders_stay(1)?;
    seconds(slowest)
}

async fn slow_close<B: Backend>(house: &mut House<B>) -> Result<f64> {
    let link = Link::default().with_slow_close(LATE);
    house.ways()?.shape("ends are told 5 s late", &link);
    house.backend.kill().await?;
    let gone = Instant::now();
    house.history.note("server", "is killed");
    house.backend.start().await?;
    house.history.note("server", "serves again");
    // Until then they cannot know.
    sleep((LATE + EPSILON / 2).saturating_sub(gone.elapsed())).await;
    let took = house.healed(patience(CAP + EPSILON)).await?;
    for reader in &house.readers {
        let noticed = !reader.account().stale.is_empty();
        ensure(noticed, || format!("{} never learned of it", reader.name()))?;
    }
    house.ways()?.mend();
    if !B::RETURNS_EXPIRED {
        house.bystanders_stay(1)?;
    }
    seconds(took)
}

async fn heals<B: Backend>(house: &House<B>) -> Result<()> {
    let took = house.healed(patience(CAP + EPSILON)).await?;
    ensure(took <= CAP + EPSILON, || {
        format!("healing took {took:?}, over {:?}", CAP + EPSILON)
    })
}
