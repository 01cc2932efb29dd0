//! The records of a real zone, as nodes.

use waypost_core::{ErrorKind, Instance, WatchScope};
use waypost_testkit::containers::dns::{Data, Update, dns_address};
use waypost_testkit::{Kept, laws};

use crate::support::{fresh, open, service, shown, srv};

laws! {
    every_kind_of_record_is_nodes,
    a_complete_name_means_the_same,
    all_services_are_those_listed,
    an_alias_before_srv_records_is_followed,
    bad_records_are_skipped_and_counted,
}

fn metadata(instance: &Instance) -> Vec<String> {
    let pairs = instance.node.metadata.iter();
    pairs.map(|(key, value)| format!("{key}={value}")).collect()
}

async fn every_kind_of_record_is_nodes() -> Kept {
    let domain = format!("dns://{}/fixed.waypost.test", dns_address().await?);
    let orders = open(&domain)
        .await
        .lookup(&service("orders"))
        .await
        .expect("SRV");
    let ids = [
        "a.nodes.fixed.waypost.test:8080 10.0.0.1:8080",
        "b.nodes.fixed.waypost.test:8080 10.0.0.2:8080",
    ];
    assert_eq!(shown(&orders), ids);
    assert_eq!(metadata(&orders[0]), ["priority=10", "weight=60"]);
    let all = open(&format!("{domain}?priority=all")).await;
    let orders = all.lookup(&service("orders")).await.expect("SRV");
    assert_eq!(orders.len(), 3);
    assert_eq!(metadata(&orders[2]), ["priority=20"]);

    let hosts = open(&format!("{domain}?port=80")).await;
    let users = hosts.lookup(&service("users")).await.expect("A");
    assert_eq!(
        shown(&users),
        ["10.0.1.1:80 10.0.1.1:80", "10.0.1.2:80 10.0.1.2:80"]
    );

    let carts = open(&domain)
        .await
        .lookup(&service("carts"))
        .await
        .expect("a list");
    assert_eq!(shown(&carts), ["blue 10.0.0.1:9090"]);
    assert_eq!(
        (
            carts[0].version.as_str(),
            carts[0].metadata["team"].as_str()
        ),
        ("2.1.0", "shop")
    );
    assert_eq!(metadata(&carts[0]), ["zone=a"]);
    Ok(())
}

async fn a_complete_name_means_the_same() -> Kept {
    let address = dns_address().await?;
    let registry = open(&format!("dns://{address}")).await;
    let name = service("orders.fixed.waypost.test");
    assert_eq!(registry.lookup(&name).await.expect("SRV").len(), 2);
    let error = registry.services().await.expect_err("no domain");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    Ok(())
}

async fn all_services_are_those_listed() -> Kept {
    let address = dns_address().await?;
    let fixed = open(&format!("dns://{address}/fixed.waypost.test")).await;
    let services = fixed.services().await.expect("a list");
    assert_eq!(services, [service("carts"), service("orders")]);
    let none = open(&format!("dns://{address}/nodes.fixed.waypost.test")).await;
    let error = none.services().await.expect_err("no list");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error
            .to_string()
            .starts_with("dns: services: the domain nodes.fixed"),
        "{error}"
    );
    let mut watch = none.watch(WatchScope::All).await.expect("a watch");
    let first = futures_util::StreamExt::next(&mut watch)
        .await
        .expect("an event");
    assert_eq!(first.expect_err("no list").kind(), ErrorKind::Unsupported);
    Ok(())
}

async fn an_alias_before_srv_records_is_followed() -> Kept {
    let (address, domain) = (dns_address().await?, fresh("alias"));
    let below = |name: &str| format!("{name}.{domain}");
    let mut update = Update::new();
    update.add(&below("_orders._tcp"), 1, &Data::Cname(below("_real._tcp")));
    update.add(&below("_real._tcp"), 1, &srv(80, &below("www")));
    update.add(&below("www"), 1, &Data::Cname(below("a")));
    update.add(&below("a"), 1, &Data::A([10, 0, 0, 1].into()));
    update.send(&address).await.expect("an update");
    let registry = open(&format!("dns://{address}/{domain}")).await;
    let seen = registry
        .lookup(&service("orders"))
        .await
        .expect("an answer");
    assert_eq!(shown(&seen), [format!("www.{domain}:80 10.0.0.1:80")]);
    Ok(())
}

async fn bad_records_are_skipped_and_counted() -> Kept {
    let (address, domain) = (dns_address().await?, fresh("bad"));
    let below = |name: &str| format!("{name}.{domain}");
    let mut update = Update::new();
    for target in ["good", "zero", "cloud", "nowhere", "circle"] {
        update.add(&below("_orders._tcp"), 1, &srv(80, &below(target)));
    }
    update.add(&below("_orders._tcp"), 1, &srv(0, &below("good")));
    update.add(&below("good"), 1, &Data::A([10, 0, 0, 1].into()));
    update.add(&below("zero"), 1, &Data::A([0, 0, 0, 0].into()));
    update.add(&below("cloud"), 1, &Data::A([169, 254, 169, 254].into()));
    update.add(&below("circle"), 1, &Data::Cname(below("elcric")));
    update.add(&below("elcric"), 1, &Data::Cname(below("circle")));
    update.send(&address).await.expect("an update");
    let registry = open(&format!("dns://{address}/{domain}")).await;
    let seen = registry
        .lookup(&service("orders"))
        .await
        .expect("an answer");
    assert_eq!(shown(&seen), [format!("good.{domain}:80 10.0.0.1:80")]);
    let skipped = registry.skipped().recent();
    for bad in ["zero", "cloud", "nowhere", "circle", "good"] {
        let is_named = skipped.iter().any(|one| one.place == below(bad));
        assert!(is_named, "{bad} is not counted: {skipped:?}");
    }
    Ok(())
}
