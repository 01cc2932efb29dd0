//! Makes a mishap happen, and ends it.

use std::time::Duration;

use tokio::time::sleep;
use waypost_testkit::proxy::{Direction, Link, Manner, Proxy};

use crate::Result;
use crate::agent::Signal;
use crate::backend::Backend;
use crate::house::{House, Ways, key};

use super::mishap::{Mishap, Trouble, Whose, node};

/// Longest time until a process that was told to end has ended, whatever its registry does: its
/// releases wait for one operation, which is given up in time.
const LEAVES: Duration = Duration::from_secs(10);
/// What a process said last is read after it has ended.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Begins it. What is done at once is over then.
pub(super) async fn begin<B: Backend>(house: &mut House<B>, mishap: &Mishap) -> Result<()> {
    match *mishap {
        Mishap::Killed { writer, .. } => kill(house, writer).await,
        Mishap::Replaced { writer } => {
            kill(house, writer).await?;
            house.restart_agent(writer)
        }
        Mishap::Terminated { writer, .. } => house.agents[writer].signal(Signal::TERM),
        Mishap::Stopped { writer, .. } => house.agents[writer].signal(Signal::STOP),
        Mishap::ServerKilled { .. } => house.backend.kill().await,
        Mishap::ServerPaused { .. } => house.backend.pause().await,
        Mishap::ServerWiped => house.backend.wipe().await,
        Mishap::Deleted { writer, which } => {
            let key = key(node(writer, which))?;
            house.backend.remove(&house.namespace, &key).await
        }
        Mishap::LeaseEnded { writer, which } => {
            let key = key(node(writer, which))?;
            house.backend.end_lease(&house.namespace, &key).await
        }
        Mishap::Network { whose, trouble, .. } => {
            let ways = ways(house.ways()?, whose);
            ways.into_iter().for_each(|way| harm(way, trouble));
            Ok(())
        }
    }
}

/// Ends what lasted.
pub(super) async fn end<B: Backend>(house: &mut House<B>, mishap: &Mishap) -> Result<()> {
    match *mishap {
        Mishap::Killed { writer, .. } => house.restart_agent(writer),
        Mishap::Terminated { writer, .. } => {
            house.agents[writer].ended(LEAVES).await?;
            sleep(LAST_WORDS).await;
            house.restart_agent(writer)
        }
        Mishap::Stopped { writer, .. } => house.agents[writer].signal(Signal::CONT),
        Mishap::ServerKilled { .. } => house.backend.start().await,
        Mishap::ServerPaused { .. } => house.backend.unpause().await,
        Mishap::Network { whose, trouble, .. } => {
            let ways = ways(house.ways()?, whose);
            ways.into_iter().for_each(|way| mend(way, trouble));
            Ok(())
        }
        Mishap::Replaced { .. }
        | Mishap::ServerWiped
        | Mishap::Deleted { .. }
        | Mishap::LeaseEnded { .. } => Ok(()),
    }
}

async fn kill<B: Backend>(house: &mut House<B>, writer: usize) -> Result<()> {
    house.agents[writer].signal(Signal::KILL)?;
    house.agents[writer].ended(LEAVES).await?;
    sleep(LAST_WORDS).await;
    Ok(())
}

fn ways(ways: &Ways, whose: Whose) -> Vec<&Proxy> {
    match whose {
        Whose::Writer => vec![ways.agent()],
        Whose::Directories => vec![ways.readers()],
        Whose::Watches => vec![ways.watched()],
        Whose::Everybody => vec![ways.agent(), ways.readers(), ways.watched()],
    }
}

fn harm(way: &Proxy, trouble: Trouble) {
    let link = Link::default();
    let shape = |link| way.shape(Direction::Both, link);
    match trouble {
        Trouble::Held => way.behave(Manner::Hold),
        Trouble::Reset => way.behave(Manner::Reset),
        Trouble::Refused => way.behave(Manner::Refuse),
        Trouble::Late(by) => {
            let by = Duration::from_millis(by);
            shape(link.with_latency(by).with_jitter(by / 2));
        }
        Trouble::Narrow(rate) => shape(link.with_bandwidth(rate)),
        Trouble::Sliced(size) => shape(link.with_slice(size)),
        Trouble::Cut(bytes) => shape(link.with_limit(bytes)),
    }
}

fn mend(way: &Proxy, trouble: Trouble) {
    way.mend();
    // What is on its way over a slow link would arrive long after.
    if matches!(
        trouble,
        Trouble::Late(_) | Trouble::Narrow(_) | Trouble::Sliced(_) | Trouble::Cut(_)
    ) {
        way.reset();
    }
}
