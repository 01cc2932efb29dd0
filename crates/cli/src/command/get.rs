//! `waypost get NAME`

use waypost::{Instance, Metadata, Registry, Service, ServiceName};

use crate::failure::{Failure, OK, Outcome, one_line};
use crate::names;
use crate::output::Format;
use crate::session::Session;
use crate::table::Table;

pub(super) async fn get(session: &Session, name: &str) -> Outcome {
    let name = names::sought(name)?;
    let registry = session.registry().await?;
    let mut instances = found(&*registry, &name).await?;
    instances.sort_by(|a, b| (&a.version, &a.node.id).cmp(&(&b.version, &b.node.id)));
    let output = &session.output;
    match output.format {
        Format::Json | Format::Yaml => output.value(&Service::group(&instances))?,
        Format::Name => {
            let lines = instances
                .iter()
                .map(|instance| format!("{}\n", one_line(&instance.key().to_string())));
            output.data(&lines.collect::<String>())?;
        }
        format => output.data(&table(&instances, format == Format::Wide).render())?,
    }
    Ok(OK)
}

/// The nodes of a service; none is an answer of no.
pub(super) async fn found(
    registry: &dyn Registry,
    name: &ServiceName,
) -> Result<Vec<Instance>, Failure> {
    let instances = registry.lookup(name).await?;
    if instances.is_empty() {
        return Err(names::not_found(registry, name).await);
    }
    Ok(instances)
}

fn table(instances: &[Instance], wide: bool) -> Table {
    let columns = ["NODE", "ADDRESS", "VERSION", "METADATA", "ENDPOINTS"];
    let columns = &columns[..if wide { 5 } else { 3 }];
    let mut table = Table::new(columns);
    for instance in instances {
        let endpoints = instance
            .endpoints
            .iter()
            .map(|endpoint| endpoint.name.clone());
        let cells = [
            instance.node.id.to_string(),
            instance.node.address.to_string(),
            instance.version.clone(),
            pairs(&instance.node.metadata),
            endpoints.collect::<Vec<_>>().join(","),
        ];
        table.row(cells.iter().take(columns.len()));
    }
    table
}

/// Metadata as `key=value,…`.
pub(super) fn pairs(metadata: &Metadata) -> String {
    let pairs = metadata.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}
