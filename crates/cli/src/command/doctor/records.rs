//! What is registered, looked at with suspicion.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use waypost::{Instance, Registry};

use super::report::Report;

const GROUP: &str = "records";

/// Most findings of one kind that are listed.
const LISTED: usize = 10;

/// Warns of what callers will stumble over.
pub(super) fn examine(report: &mut Report, registry: &dyn Registry, instances: &[Arc<Instance>]) {
    skipped(report, registry);
    let verdict = |report: &mut Report, name, findings: Vec<String>| {
        if findings.is_empty() {
            report.ok(GROUP, name, "none");
        }
        for finding in findings.iter().take(LISTED) {
            report.warn(GROUP, name, finding);
        }
        if findings.len() > LISTED {
            report.warn(
                GROUP,
                name,
                &format!("and {} more", findings.len() - LISTED),
            );
        }
    };
    verdict(report, "duplicate ids", duplicate_ids(instances));
    verdict(report, "shared addresses", shared_addresses(instances));
    if registry.profile().remote {
        verdict(
            report,
            "addresses others cannot dial",
            undialable(instances),
        );
    }
}

fn skipped(report: &mut Report, registry: &dyn Registry) {
    let recent = registry.skipped().recent();
    if recent.is_empty() {
        report.ok(GROUP, "readable", "every record can be read");
    }
    for skipped in recent.iter().take(LISTED) {
        report.warn(GROUP, "readable", &format!("skipped {skipped}"));
    }
    if recent.len() > LISTED {
        report.warn(
            GROUP,
            "readable",
            &format!("and {} more", recent.len() - LISTED),
        );
    }
}

fn duplicate_ids(instances: &[Arc<Instance>]) -> Vec<String> {
    let mut count = BTreeMap::new();
    for instance in instances {
        *count.entry(instance.key()).or_insert(0) += 1;
    }
    let twice = count.into_iter().filter(|(_, count)| *count > 1);
    twice
        .map(|(key, count)| format!("{key} is registered {count} times"))
        .collect()
}

/// The same address under two ids of one service: one of them is the ghost of an earlier life.
fn shared_addresses(instances: &[Arc<Instance>]) -> Vec<String> {
    let mut ids: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for instance in instances {
        let place = (&instance.service, &instance.node.address);
        let ids = ids.entry(place).or_default();
        if !ids.contains(&instance.node.id.as_str()) {
            ids.push(instance.node.id.as_str());
        }
    }
    let shared = ids.into_iter().filter(|(_, ids)| ids.len() > 1);
    shared
        .map(|((service, address), ids)| {
            format!(
                "{address} of service {service} is registered as {}",
                ids.join(" and ")
            )
        })
        .collect()
}

fn undialable(instances: &[Arc<Instance>]) -> Vec<String> {
    let finding = |instance: &Arc<Instance>| {
        let what = trap(instance.node.address.host())?;
        let (key, address) = (instance.key(), &instance.node.address);
        Some(format!(
            "{key} is at {address}, {what}; other machines cannot dial it"
        ))
    };
    instances.iter().filter_map(finding).collect()
}

/// What kind of address only this machine can dial.
fn trap(host: &str) -> Option<&'static str> {
    if host == "localhost" || host.ends_with(".localhost") {
        return Some("a loopback name");
    }
    match host.parse::<IpAddr>().ok()?.to_canonical() {
        ip if ip.is_loopback() => Some("a loopback address"),
        IpAddr::V4(ip) if ip.octets()[..2] == [172, 17] => {
            Some("an address of docker's default bridge")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use waypost::{Address, Node, NodeId, ServiceName};

    use super::*;

    fn instance(node: &str, address: &str) -> Arc<Instance> {
        let address = Address::new(address).expect("address");
        let node = Node::new(NodeId::new(node).expect("id"), address);
        Arc::new(Instance::new(
            ServiceName::new("orders").expect("name"),
            node,
        ))
    }

    #[test]
    fn suspicious_records_are_found_and_good_ones_are_not() {
        let good = [instance("a", "10.0.0.1:80"), instance("b", "10.0.0.1:81")];
        assert!(duplicate_ids(&good).is_empty());
        assert!(shared_addresses(&good).is_empty());
        assert!(undialable(&good).is_empty());
        let twice = [instance("a", "10.0.0.1:80"), instance("a", "10.0.0.2:80")];
        assert_eq!(duplicate_ids(&twice), ["orders/a is registered 2 times"]);
        let ghost = [instance("a", "10.0.0.1:80"), instance("b", "10.0.0.1:80")];
        assert_eq!(
            shared_addresses(&ghost),
            ["10.0.0.1:80 of service orders is registered as a and b"]
        );
    }

    #[test]
    fn loopback_and_bridge_addresses_are_traps() {
        for host in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "localhost",
            "172.17.0.2",
        ] {
            assert!(trap(host).is_some(), "{host}");
        }
        for host in ["10.0.0.1", "172.18.0.1", "orders.internal", "2001:db8::1"] {
            assert!(trap(host).is_none(), "{host}");
        }
    }
}
