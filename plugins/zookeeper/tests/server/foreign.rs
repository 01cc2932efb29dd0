//! Other people's clients: kazoo.

use std::path::Path;

use serde_json::{Value, json};
use waypost_core::{Endpoint, Metadata};
use waypost_testkit::containers::zookeeper_address;
use waypost_testkit::{Kept, Python, laws};

use crate::help::{at, instance, name, register};

laws! {
    kazoo_reads_what_we_write_and_we_what_it_writes,
}

/// The release that was tried.
const KAZOO: &str = "kazoo==2.11.0";

async fn kazoo_reads_what_we_write_and_we_what_it_writes() -> Kept {
    let address = zookeeper_address().await?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kazoo");
    let python = Python::with(&folder, &[KAZOO]).await?;
    read(&address, &python).await?;
    written(&address, &python).await
}

async fn read(address: &str, python: &Python) -> Kept {
    let registry = at(address).await;
    let one = instance("foreign-read", 1);
    let lease = register(&*registry, &one).await;
    let script = include_str!("../foreign/read.py");
    let path = "/micro-registry/foreign-read/foreign-read-1";
    let said = python.run(script, &[address, path]).await?;
    let anyone = json!([["world", "anyone", 31]]);
    let record = json!({
        "name": "foreign-read", "version": "1.0.0", "metadata": null, "endpoints": null,
        "nodes": [{"id": "foreign-read-1", "address": "10.0.0.1:8080", "metadata": null}],
    });
    let mut all: Value = serde_json::from_str(&said)?;
    let data = all[2]["data"].take();
    let data: Value = serde_json::from_str(data.as_str().unwrap_or_default())?;
    assert_eq!(data, record);
    let expected = json!([
        {"path": "/micro-registry", "data": "", "ephemeral": false, "acls": anyone},
        {"path": "/micro-registry/foreign-read", "data": "", "ephemeral": false, "acls": anyone},
        {"path": path, "data": null, "ephemeral": true, "acls": anyone},
    ]);
    assert_eq!(all, expected);
    lease.revoke().await?;
    Ok(())
}

async fn written(address: &str, python: &Python) -> Kept {
    let script = include_str!("../foreign/write.py");
    python.run(script, &[address, "foreign-written"]).await?;
    let registry = at(address).await;
    let all = registry.lookup(&name("foreign-written")).await?;
    let ids: Vec<_> = all.iter().map(|one| one.node.id.as_str()).collect();
    assert_eq!(ids, ["foreign-written-1", "foreign-written-2"]);
    let metadata = |pairs: &[(&str, &str)]| -> Metadata {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    };
    let mut endpoint = Endpoint::new("Say.Hello");
    endpoint.metadata = metadata(&[("stream", "true")]);
    for one in &all {
        assert_eq!(one.version, "1.2.3");
        assert_eq!(one.endpoints, std::slice::from_ref(&endpoint));
        let pairs = metadata(&[("protocol", "grpc"), ("zone", "ü")]);
        assert_eq!(one.node.metadata, pairs);
    }
    assert_eq!(
        registry.skipped().total(),
        4,
        "{:?}",
        registry.skipped().recent()
    );
    for one in &all {
        registry.deregister(&one.key()).await?;
    }
    Ok(())
}
