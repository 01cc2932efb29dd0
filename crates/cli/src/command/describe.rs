//! `waypost describe NAME`

use std::fmt::Write as _;

use waypost::{Endpoint, Service, Value};

use super::get::{found, pairs};
use crate::failure::{OK, Outcome, one_line};
use crate::names;
use crate::session::Session;
use crate::style::{Paint, Style};

pub(super) async fn describe(session: &Session, name: &str) -> Outcome {
    let name = names::sought(name)?;
    let registry = session.registry().await?;
    let services = Service::group(&found(&*registry, &name).await?);
    let output = &session.output;
    if output.format.is_structured() {
        output.value(&services)?;
        return Ok(OK);
    }
    let mut text = String::new();
    for service in &services {
        version(&mut text, service, output.stdout);
    }
    output.data(&text)?;
    Ok(OK)
}

fn version(text: &mut String, service: &Service, style: Style) {
    // Escaped before it is painted: what a terminal shall obey is ours alone.
    let name = style.paint(Paint::Bold, &one_line(service.name.as_str()));
    let label = style.paint(Paint::Dim, "service   ");
    // Writing to a text cannot fail.
    let _ = writeln!(text, "{label}{name}");
    let mut line = |depth: usize, label: &str, value: &str| {
        let label = style.paint(Paint::Dim, label);
        let _ = writeln!(text, "{:depth$}{label}{}", "", one_line(value));
    };
    line(0, "version   ", &service.version);
    if !service.metadata.is_empty() {
        line(0, "metadata  ", &pairs(&service.metadata));
    }
    for node in &service.nodes {
        line(0, "node      ", &format!("{} at {}", node.id, node.address));
        for (key, value) in &node.metadata {
            line(10, "", &format!("{key}={value}"));
        }
    }
    for endpoint in &service.endpoints {
        line(0, "endpoint  ", &signature(endpoint));
        if !endpoint.metadata.is_empty() {
            line(10, "", &pairs(&endpoint.metadata));
        }
    }
    text.push('\n');
}

/// `Greeter.Hello(Request {name: string}) -> Response`
fn signature(endpoint: &Endpoint) -> String {
    let shown = |value: &Option<Value>| value.as_ref().map(kind).unwrap_or_default();
    let response = shown(&endpoint.response);
    let arrow = if response.is_empty() { "" } else { " -> " };
    format!(
        "{}({}){arrow}{response}",
        endpoint.name,
        shown(&endpoint.request)
    )
}

fn kind(value: &Value) -> String {
    if value.values.is_empty() {
        return value.kind.clone();
    }
    let fields = value
        .values
        .iter()
        .map(|field| format!("{}: {}", field.name, kind(field)));
    format!(
        "{} {{{}}}",
        value.kind,
        fields.collect::<Vec<_>>().join(", ")
    )
}
