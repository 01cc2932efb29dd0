//! Other people's clients: Consul's HTTP API as Python speaks it, tags as Python's zlib reads them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use waypost_core::{Endpoint, Metadata, RegisterOptions, Value as Kind};
use waypost_testkit::containers::CONSUL;
use waypost_testkit::{Kept, Missing, Python, laws};

use crate::support::{Raw, instance, name, open, own_agent, shared, until};

laws! {
    python_reads_what_we_register,
    what_python_registers_is_read,
    a_record_that_nobody_renews_is_critical_then_gone,
}

async fn python_reads_what_we_register() -> Kept {
    let (address, python) = (shared().await?, Python::plain().await?);
    let registry = open(&format!("consul://{address}")).await;
    let endpoint = endpoint();
    let mut one = instance("foreign-read", 1).with_version("1.2.3");
    one.node = one
        .node
        .with_metadata("protocol", "grpc")
        .with_metadata("zone", "ü");
    let one = one.with_endpoint(endpoint.clone());
    let options = RegisterOptions::new(Duration::from_secs(60));
    let lease = registry.register(&one, options).await?;
    let script = include_str!("../foreign/read.py");
    let said = python.run(script, &[&address, "foreign-read"]).await?;
    let read: Value = serde_json::from_str(&said)?;
    let expected = json!({
        "id": "foreign-read-1",
        "name": "foreign-read",
        "address": "10.0.0.1",
        "port": 8080,
        "tags": [
            ["t-", {"protocol": "grpc"}],
            ["t-", {"zone": "ü"}],
            ["e-", {
                "name": "Say.Hello",
                "request": {"name": "Request", "type": "Request", "values": [
                    {"name": "name", "type": "string", "values": null},
                ]},
                "response": null,
                "metadata": {"stream": "true"},
            }],
            ["v-", "1.2.3"],
        ],
        "meta": {"protocol": "grpc", "zone": "ü"},
        "check": ["service:foreign-read-1", "ttl", "passing"],
    });
    assert_eq!(read, expected);
    lease.revoke().await?;
    Ok(())
}

fn endpoint() -> Endpoint {
    let kind = |name: &str, kind: &str, values| Kind {
        name: name.to_owned(),
        kind: kind.to_owned(),
        values,
    };
    let mut endpoint = Endpoint::new("Say.Hello");
    let field = kind("name", "string", Vec::new());
    endpoint.request = Some(kind("Request", "Request", vec![field]));
    endpoint.metadata = metadata(&[("stream", "true")]);
    endpoint
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

async fn what_python_registers_is_read() -> Kept {
    let (address, python) = (shared().await?, Python::plain().await?);
    let registry = open(&format!("consul://{address}")).await;
    let script = include_str!("../foreign/write.py");
    python.run(script, &[&address, "foreign-written"]).await?;
    let service = name("foreign-written");
    let three = async || {
        registry
            .lookup(&service)
            .await
            .is_ok_and(|all| all.len() == 3)
    };
    until("three instances", three).await;
    let fresh = open(&format!("consul://{address}")).await;
    let all = fresh.lookup(&service).await?;
    let all = <[_; 3]>::try_from(all).expect("three, as looked for above");
    let [broken, packed, plain] = &all;
    assert_eq!(packed.version, "1.2.3");
    assert_eq!(packed.endpoints, [endpoint()]);
    let pairs = metadata(&[("protocol", "grpc"), ("zone", "ü")]);
    assert_eq!(packed.node.metadata, pairs);
    assert_eq!(plain.version, "0.9");
    assert_eq!(plain.endpoints, [endpoint()]);
    assert_eq!(plain.node.metadata, metadata(&[("protocol", "http")]));
    assert_eq!(
        (broken.version.as_str(), &broken.endpoints[..]),
        ("2.0", &[][..])
    );
    assert_eq!(broken.node.metadata, Metadata::new());
    let named = fresh.skipped().recent();
    let of_broken = named
        .iter()
        .filter(|one| one.place.contains("foreign-written-broken"));
    assert_eq!(of_broken.count(), 13, "{named:?}");
    for one in &all {
        registry.deregister(&one.key()).await?;
    }
    Ok(())
}

/// The check's ttl, and Consul's reaper: it looks every half minute, and takes no less than one.
async fn a_record_that_nobody_renews_is_critical_then_gone() -> Kept {
    if std::env::var_os("WAYPOST_FULL").is_none() {
        let how = "two minutes; WAYPOST_FULL=1 runs it";
        return Err(Missing::not_asked_for(how).into());
    }
    let agent = own_agent(&CONSUL, "").await?;
    let (registry, raw) = (
        open(&format!("consul://{}", agent.address())).await,
        Raw::new(&agent.address(), ""),
    );
    let options = RegisterOptions::new(Duration::from_secs(2));
    let begun = Instant::now();
    drop(
        registry
            .register(&instance("forgotten", 1), options)
            .await?,
    );
    let status = async || {
        let all = raw.get("health/service/forgotten").await;
        let checks = all[0]["Checks"].as_array().cloned().unwrap_or_default();
        let ours = checks
            .iter()
            .find(|one| one["CheckID"] == "service:forgotten-1");
        ours.map(|one| one["Status"].as_str().unwrap_or_default().to_owned())
    };
    let mut critical = None;
    while let Some(status) = status().await {
        if status == "critical" && critical.is_none() {
            critical = Some(begun.elapsed());
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "it stays {status}"
        );
        sleep(Duration::from_millis(100)).await;
    }
    let (critical, gone) = (critical.expect("critical before it went"), begun.elapsed());
    assert!(
        critical >= Duration::from_secs(2) && critical < Duration::from_secs(4),
        "{critical:?}"
    );
    // Sixty-five seconds after that, up to the reaper's next round.
    let reaped = gone - critical;
    assert!(reaped >= Duration::from_secs(60), "{reaped:?}");
    Ok(())
}
