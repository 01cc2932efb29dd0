//! Services as somebody hands them in: JSON, a file, the standard input.

use std::io::Read as _;
use std::path::Path;

use waypost::Instance;
use waypost_plugin_kit::codec;

use crate::failure::Failure;

/// Most bytes that are read.
const MOST: u64 = 4 * 1024 * 1024;

/// The instances, one a node, each checked against the rules of a new record.
pub(crate) fn instances(input: &str) -> Result<Vec<Instance>, Failure> {
    let (text, place) = text(input)?;
    parse(&text).map_err(|fault| Failure::usage(format!("{place}: {fault}")))
}

/// The text, and what to call it.
fn text(input: &str) -> Result<(String, String), Failure> {
    if input.trim_start().starts_with(['{', '[']) {
        return Ok((input.to_owned(), "the service".to_owned()));
    }
    let fault = |place: &str, error: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot read {place}: {error}"))
    };
    let mut text = String::new();
    if input == "-" {
        let mut stdin = std::io::stdin().lock().take(MOST);
        stdin
            .read_to_string(&mut text)
            .map_err(|error| fault("the standard input", &error))?;
        return Ok((text, "the standard input".to_owned()));
    }
    if !Path::new(input).exists() {
        return Err(Failure::usage(format!(
            "{input:?} is neither JSON nor a file; give go-micro's JSON of a service, a file or `-`"
        )));
    }
    std::fs::File::open(input)
        .and_then(|file| file.take(MOST).read_to_string(&mut text))
        .map_err(|error| fault(&format!("{input:?}"), &error))?;
    Ok((text, format!("{input:?}")))
}

/// One service, or a list of them as `get -o json` writes it.
fn parse(text: &str) -> Result<Vec<Instance>, String> {
    let text = text.trim();
    let mut instances = Vec::new();
    if text.starts_with('[') {
        let services: Vec<serde_json::Value> =
            serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
        for service in services {
            instances.extend(codec::decode(service.to_string().as_bytes())?);
        }
    } else {
        instances = codec::decode(text.as_bytes())?;
    }
    if instances.is_empty() {
        return Err("there is no node; a service is registered by its nodes".to_owned());
    }
    for instance in &instances {
        instance.validate().map_err(|error| error.chain())?;
    }
    Ok(instances)
}
