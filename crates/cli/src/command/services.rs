//! `waypost services`

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use waypost::Instance;

use crate::failure::{OK, Outcome, one_line};
use crate::output::Format;
use crate::session::Session;
use crate::table::Table;

/// One service, as it is written in JSON.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    versions: BTreeSet<String>,
    nodes: usize,
    #[serde(skip)]
    addresses: BTreeSet<String>,
}

pub(super) async fn services(session: &Session) -> Outcome {
    let registry = session.registry().await?;
    let output = &session.output;
    if output.format == Format::Name {
        let names = registry.services().await?;
        let lines: String = names
            .iter()
            .map(|name| format!("{}\n", one_line(name.as_str())))
            .collect();
        output.data(&lines)?;
        return Ok(OK);
    }
    let rows = rows(&session.everything(&*registry).await?);
    if output.format.is_structured() {
        output.value(&rows)?;
        return Ok(OK);
    }
    if rows.is_empty() {
        output.say("no service is registered");
        return Ok(OK);
    }
    output.data(&table(&rows, output.format == Format::Wide).render())?;
    Ok(OK)
}

fn rows(instances: &[Arc<Instance>]) -> Vec<Row> {
    let mut rows = BTreeMap::new();
    for instance in instances {
        let row = rows.entry(instance.service.clone()).or_insert_with(|| Row {
            name: instance.service.to_string(),
            versions: BTreeSet::new(),
            nodes: 0,
            addresses: BTreeSet::new(),
        });
        row.nodes += 1;
        row.versions.insert(instance.version.clone());
        row.addresses.insert(instance.node.address.to_string());
    }
    rows.into_values().collect()
}

fn table(rows: &[Row], wide: bool) -> Table {
    let columns = ["NAME", "NODES", "VERSIONS", "ADDRESSES"];
    let columns = &columns[..if wide { 4 } else { 3 }];
    let joined = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
    let mut table = Table::new(columns);
    for row in rows {
        let cells = [
            row.name.clone(),
            row.nodes.to_string(),
            joined(&row.versions),
            joined(&row.addresses),
        ];
        table.row(cells.iter().take(columns.len()));
    }
    table
}
