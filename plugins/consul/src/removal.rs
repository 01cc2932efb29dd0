//! Taking records away.

use std::time::Duration;

use waypost_core::{InstanceKey, Result};

use crate::error;
use crate::http::{Agent, Since};
use crate::record::Entry;
use crate::registry::Shared;

/// How long an agent may take to tell the servers of a removal, before they are told for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Removes our record from its agent, and waits until the servers know. What they have of it from
/// other agents, which the lease left, is struck out. A record that an expired lease left is gone for
/// readers already, and is reaped by its agent.
pub(crate) async fn revoke(shared: &Shared, agent: &Agent, key: &InstanceKey) -> Result<()> {
    agent.remove(key.node.as_str()).await?;
    let ours = |entry: &Entry| shared.claims.is_ours(entry.service.owner().as_ref());
    for entry in wait_for_end(agent, key, &ours).await? {
        agent.strike(&entry).await?;
    }
    Ok(())
}

/// Removes whatever has this key: at each agent that we know and that has it, and at the servers
/// what is at other agents. Those bring a record back when they compare notes with the servers, if
/// its owner still renews it.
pub(crate) async fn deregister(shared: &Shared, key: &InstanceKey) -> Result<()> {
    let (mut removed, mut failed) = (false, None);
    for agent in shared.agents.all() {
        match remove_at(&agent, key).await {
            Ok(found) => removed |= found,
            Err(error) if error::is_agents_own(&error) => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    let strike = |agent: Agent| strike(agent, key, removed);
    match (shared.agents.any(strike).await, failed) {
        (Err(_), Some(failed)) => Err(failed),
        (outcome, _) => outcome,
    }
}

async fn remove_at(agent: &Agent, key: &InstanceKey) -> Result<bool> {
    let id = key.node.as_str();
    match agent.held(id).await? {
        Some(held) if held.service.name == key.service.as_str() => {
            agent.remove(id).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

async fn strike(agent: Agent, key: &InstanceKey, removed: bool) -> Result<()> {
    let any = |_: &Entry| true;
    if removed && wait_for_end(&agent, key, &any).await?.is_empty() {
        return Ok(());
    }
    let service = key.service.as_str();
    let mut read = agent.entries(service, &Since::Now).await?;
    if !removed {
        read = agent.proven(service, read).await?;
    }
    for entry in read.what {
        if entry.service.name == key.service.as_str() && entry.is_of(key.node.as_str()) {
            agent.strike(&entry).await?;
        }
    }
    Ok(())
}

/// Waits until the servers have no such entry of `key` any more; gives those that stay.
async fn wait_for_end(
    agent: &Agent,
    key: &InstanceKey,
    is_meant: &(dyn Fn(&Entry) -> bool + Sync),
) -> Result<Vec<Entry>> {
    let (service, id) = (key.service.as_str(), key.node.as_str());
    let mut since = Since::Now;
    loop {
        let mut read = agent.entries_of(service, id, &since, PATIENCE).await?;
        read.what.retain(is_meant);
        let idle = matches!(since, Since::Index(index) if index == read.index);
        if read.what.is_empty() || idle {
            return Ok(read.what);
        }
        since = Since::Index(read.index);
    }
}
