//! From records to instances. Records are not trusted: what breaks a rule is refused by name.

use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::rr::rdata::{SRV, TXT};
use waypost_core::{Address, Instance, Node, NodeId, Result, ServiceName};

use crate::names::plain;

/// Key of the node's metadata that holds an SRV record's priority, unless that is 0.
const PRIORITY: &str = "priority";
/// Key of the node's metadata that holds an SRV record's weight, unless that is 0.
const WEIGHT: &str = "weight";
/// Key of a TXT record's pair that holds the version.
const VERSION: &str = "version";
/// What the keys of a TXT record's pairs begin with that are the service's metadata, not the node's.
const OF_SERVICE: &str = "service.";

/// Whether anybody may dial `ip`.
pub(crate) fn is_dialable(ip: IpAddr) -> bool {
    Address::new(&SocketAddr::new(ip, 1).to_string()).is_ok()
}

/// A node called `id` at this address, with the service's defaults.
pub(crate) fn at(service: &ServiceName, id: &str, ip: IpAddr, port: u16) -> Result<Instance> {
    let address = Address::new(&SocketAddr::new(ip, port).to_string())?;
    let node = Node::new(NodeId::foreign(id)?, address);
    Ok(Instance::new(service.clone(), node))
}

/// The node's id where addresses are all there is: the address, port included.
pub(crate) fn host_id(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip, port).to_string()
}

/// The node's id under an SRV record: its target and port, which stay when the target moves. When
/// the target has several addresses each is a node of its own.
pub(crate) fn target_id(srv: &SRV, several: Option<IpAddr>) -> String {
    let id = format!("{}:{}", plain(&srv.target), srv.port);
    several.map_or(id.clone(), |ip| format!("{id}@{ip}"))
}

/// Adds an SRV record's priority and weight to the node's metadata.
pub(crate) fn rank(instance: &mut Instance, srv: &SRV) {
    for (key, value) in [(PRIORITY, srv.priority), (WEIGHT, srv.weight)] {
        if value != 0 {
            let metadata = &mut instance.node.metadata;
            metadata.insert(key.to_owned(), value.to_string());
        }
    }
}

/// Adds what TXT records tell (RFC 6763, section 6): the version, metadata of the service and of
/// the node. The first of several pairs with one key counts; a value that is no text is left out.
///
/// # Errors
/// `Config` when that breaks the limits of a record.
pub(crate) fn describe<'a>(
    instance: &mut Instance,
    texts: impl Iterator<Item = &'a TXT>,
) -> Result<()> {
    let mut version = None;
    for pair in texts.flat_map(|text| text.txt_data.iter()) {
        let Ok(pair) = std::str::from_utf8(pair) else {
            continue;
        };
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key.is_empty() {
            continue;
        }
        if key == VERSION {
            version.get_or_insert(value);
            continue;
        }
        let (metadata, key) = match key.strip_prefix(OF_SERVICE) {
            Some(key) => (&mut instance.metadata, key),
            None => (&mut instance.node.metadata, key),
        };
        metadata
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    if let Some(version) = version {
        version.clone_into(&mut instance.version);
    }
    instance.check_limits()
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;
    use proptest::prelude::*;

    use super::*;

    fn blank() -> Instance {
        let service = ServiceName::new("orders").expect("name");
        at(&service, "blue", [10, 0, 0, 1].into(), 80).expect("instance")
    }

    #[test]
    fn addresses_that_nobody_may_dial_are_refused() {
        let service = ServiceName::new("orders").expect("name");
        for (ip, port) in [
            ("0.0.0.0", 80),
            ("169.254.169.254", 80),
            ("224.0.0.1", 80),
            ("255.255.255.255", 80),
            ("::", 80),
            ("fe80::1", 80),
            ("::ffff:169.254.169.254", 80),
            ("10.0.0.1", 0),
        ] {
            let ip: IpAddr = ip.parse().expect("ip");
            assert!(at(&service, "x", ip, port).is_err(), "{ip}:{port}");
            assert_eq!(is_dialable(ip), port == 0, "{ip}");
        }
        let six = at(&service, "x", "fd00::1".parse().expect("ip"), 80).expect("instance");
        assert_eq!(six.node.address.as_str(), "[fd00::1]:80");
    }

    #[test]
    fn a_target_names_its_node_until_it_has_several_addresses() {
        let target = Name::from_ascii("A.Nodes.example.org.").expect("name");
        let srv = SRV::new(0, 0, 8080, target);
        assert_eq!(target_id(&srv, None), "a.nodes.example.org:8080");
        let ip = "10.0.0.1".parse().expect("ip");
        assert_eq!(
            target_id(&srv, Some(ip)),
            "a.nodes.example.org:8080@10.0.0.1"
        );
    }

    #[test]
    fn ranks_are_metadata_where_they_say_something() {
        let mut instance = blank();
        rank(&mut instance, &SRV::new(0, 0, 1, Name::root()));
        assert!(instance.node.metadata.is_empty());
        rank(&mut instance, &SRV::new(10, 60, 1, Name::root()));
        assert_eq!(instance.node.metadata["priority"], "10");
        assert_eq!(instance.node.metadata["weight"], "60");
    }

    #[test]
    fn pairs_of_a_text_are_version_and_metadata() {
        let mut instance = blank();
        let pairs: Vec<&[u8]> = vec![
            b"version=2.1",
            b"version=3",
            b"zone=a",
            b"zone=b",
            b"flag",
            b"=x",
            b"service.team=t",
            b"bin=\xff",
            b"",
            b"sum=1=1",
        ];
        let text = TXT::from_bytes(pairs);
        describe(&mut instance, [&text].into_iter()).expect("good");
        assert_eq!(instance.version, "2.1");
        assert_eq!(instance.metadata["team"], "t");
        let node: Vec<_> = instance
            .node
            .metadata
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(node, ["flag=", "sum=1=1", "zone=a"]);
    }

    #[test]
    fn a_text_beyond_the_limits_is_refused() {
        let many: Vec<String> = (0..65).map(|number| format!("key{number}=x")).collect();
        for pairs in [
            many,
            vec!["key=a\nb".to_owned()],
            vec!["version=a\r".to_owned()],
        ] {
            let text = TXT::new(pairs);
            assert!(
                describe(&mut blank(), [&text].into_iter()).is_err(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(
            pairs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..255), 0..70),
        ) {
            let pairs: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
            let mut instance = blank();
            if describe(&mut instance, [&TXT::from_bytes(pairs)].into_iter()).is_ok() {
                prop_assert!(instance.check_limits().is_ok());
            }
        }
    }
}
