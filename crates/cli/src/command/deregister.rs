//! `waypost deregister NAME NODE`

use waypost::{InstanceKey, NodeId, Registry};

use crate::failure::{Failure, OK, Outcome};
use crate::session::Session;
use crate::{input, names};

pub(super) async fn deregister(session: &Session, what: &[String]) -> Outcome {
    let keys = match what {
        [word, json] if word == "service" && json.trim_start().starts_with('{') => {
            let instances = input::instances(json)?;
            instances.iter().map(waypost::Instance::key).collect()
        }
        [name, node] => vec![InstanceKey::new(
            names::sought(name)?,
            NodeId::foreign(node)?,
        )],
        _ => {
            return Err(Failure::usage(
                "give the name of a service and the id of a node",
            ));
        }
    };
    let registry = session.registry().await?;
    for key in &keys {
        remove(session, &*registry, key).await?;
    }
    Ok(OK)
}

/// Removes a record. One that cannot be seen is removed all the same, since records that no reader
/// believes are not seen; whoever mistyped an id is told.
async fn remove(
    session: &Session,
    registry: &dyn Registry,
    key: &InstanceKey,
) -> Result<(), Failure> {
    let there = registry.lookup(&key.service).await?;
    registry.deregister(key).await?;
    if there.iter().any(|instance| instance.node.id == key.node) {
        session.output.say(&format!(
            "{key} is deregistered; if it still runs, it will register again"
        ));
        return Ok(());
    }
    let ids = there.iter().map(|instance| instance.node.id.as_str());
    let meant = waypost::nearest(key.node.as_str(), ids);
    let meant = meant.map(|near| format!("; did you mean `{near}`?"));
    session.output.warn(&format!(
        "{key} was not registered{}",
        meant.unwrap_or_default()
    ));
    Ok(())
}
