//! The list as an address: `SERVICE[:VERSION]=HOST:PORT[+KEY=VALUE]…`, separated by commas.
//!
//! None of the separators means anything to a shell or stands in a name or an address.

use std::sync::Arc;

use waypost_core::{Address, Instance, Node, NodeId, Result, ServiceName};
use waypost_plugin_kit::Known;

use crate::error;

/// Reads the entries of a list.
pub(crate) fn parse<T: AsRef<str>>(entries: &[T]) -> Result<Vec<Arc<Instance>>> {
    let mut known = Known::new();
    for text in entries {
        let text = text.as_ref();
        let instance: Arc<Instance> = entry(text)?.into();
        if known.get(&instance.key()).is_some() {
            return Err(error::entry(text, "has a node that another entry has too"));
        }
        known.apply(&waypost_core::Change::Upsert(instance));
    }
    Ok(known.instances())
}

fn entry(text: &str) -> Result<Instance> {
    let part = |rule: waypost_core::Error| error::part(text, &rule);
    let Some((service, rest)) = text.split_once('=') else {
        return Err(error::entry(text, "has no `=`"));
    };
    let (service, version) = service.split_once(':').unwrap_or((service, "latest"));
    let service = ServiceName::new(service).map_err(part)?;
    let mut parts = rest.split('+');
    let address = Address::new(parts.next().unwrap_or_default()).map_err(part)?;
    let id = NodeId::new(&format!("{service}-{address}")).map_err(part)?;
    let mut instance = Instance::new(service, Node::new(id, address)).with_version(version);
    for pair in parts {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(error::entry(text, format_args!("has no `=` in {pair:?}")));
        };
        match key {
            "id" => instance.node.id = NodeId::new(value).map_err(part)?,
            _ => drop(
                instance
                    .node
                    .metadata
                    .insert(key.to_owned(), value.to_owned()),
            ),
        }
    }
    instance.validate().map_err(part)?;
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waypost_core::ErrorKind;

    use super::*;

    #[test]
    fn every_part_of_an_entry_is_kept() {
        let list = [
            "orders:2.0=10.0.0.1:80+zone=a+weight=3+id=blue",
            "orders=[::1]:80",
        ];
        let all = parse(&list).expect("list");
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].node.id.as_str(), "blue");
        assert_eq!(all[0].version, "2.0");
        assert_eq!(all[0].node.metadata["zone"], "a");
        assert_eq!(all[0].node.metadata["weight"], "3");
        assert_eq!(all[1].node.id.as_str(), "orders-[::1]:80");
        assert_eq!(all[1].version, "latest");
    }

    #[test]
    fn wrong_entries_are_named_with_the_rule() {
        for (list, needle) in [
            (vec!["orders"], "no `=`"),
            (vec!["=10.0.0.1:80"], "is empty"),
            (vec!["a/b=10.0.0.1:80"], "service name"),
            (vec!["orders=10.0.0.1"], "has no port"),
            (vec!["orders=0.0.0.0:80"], "unspecified"),
            (vec!["orders=10.0.0.1:80+zone"], "no `=` in \"zone\""),
            (vec!["orders=10.0.0.1:80+=x"], "is empty"),
            (
                vec!["orders=10.0.0.1:80", "orders=10.0.0.1:80"],
                "another entry",
            ),
        ] {
            let error = parse(&list).expect_err(needle);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(needle), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_entry_or_refused(text in "\\PC{0,60}") {
            let _ = parse(&[text]);
        }
    }
}
