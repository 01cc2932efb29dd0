//! Names, addresses and keys: a line each of service, node, address and key prefix.

use waypost_core::{Address, InstanceKey, NodeId, ServiceName};
use waypost_plugin_kit::layout::{self, Prefix};

use crate::rules;
use crate::sources::name;

/// Four texts.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // NUL and not a line feed stands between them, since a name may try to have that.
    let mut texts = text.split('\0');
    let mut next = || texts.next().unwrap_or("orders");
    let (one, other, address, prefix) = (next(), next(), next(), next());
    services(one);
    nodes(other);
    addresses(address);
    for name in [one, other] {
        if let (Ok(service), Ok(node)) = (ServiceName::foreign(one), NodeId::foreign(name)) {
            keys(prefix, InstanceKey::new(service, node));
        }
    }
    if let (Ok(one), Ok(other)) = (NodeId::foreign(one), NodeId::foreign(other)) {
        assert_eq!(name::file(&one) == name::file(&other), one == other);
    }
}

fn services(text: &str) {
    if let Ok(name) = ServiceName::foreign(text) {
        rules::readable(name.as_str(), 128);
        assert_eq!(name.is_strict(), ServiceName::new(text).is_ok());
        assert!(is_file_name(&name::directory(&name)));
    }
    match ServiceName::new(text) {
        Ok(name) => {
            rules::readable(name.as_str(), 128);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            assert!(
                text.bytes().all(plain) && !text.starts_with(['.', '-']),
                "{text:?}"
            );
            assert!(!text.contains(".."), "{text:?}");
            assert_eq!(ServiceName::foreign(text).as_ref().ok(), Some(&name));
        }
        Err(error) => one_line(&error),
    }
}

fn nodes(text: &str) {
    if let Ok(id) = NodeId::foreign(text) {
        rules::readable(id.as_str(), 256);
        assert!(is_file_name(&name::file(&id)));
    }
    match NodeId::new(text) {
        Ok(id) => {
            rules::readable(id.as_str(), 256);
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"/\\".contains(&byte);
            assert!(text.bytes().all(plain), "{text:?}");
        }
        Err(error) => one_line(&error),
    }
}

fn addresses(text: &str) {
    match Address::new(text) {
        Ok(address) => {
            rules::dialled(text);
            assert_eq!(address.as_str(), text);
            assert_ne!(address.port(), 0);
            assert!(!address.host().is_empty() && !address.host().contains(['[', ']']));
        }
        Err(error) => one_line(&error),
    }
}

/// A record's key leads back to its segments, whatever the prefix.
fn keys(prefix: &str, key: InstanceKey) {
    let prefix = match Prefix::new(prefix) {
        Ok(prefix) => prefix,
        Err(error) => return one_line(&error),
    };
    rules::readable_path(prefix.as_str());
    let (service, node) = (
        layout::segment(key.service.as_str()),
        layout::segment(key.node.as_str()),
    );
    let text = prefix.key(&key);
    assert_eq!(prefix.parse(&text), Some((&*service, &*node)), "{text:?}");
    assert!(text.starts_with(&prefix.service(&key.service)));
    assert!(text.starts_with(&prefix.all()));
}

/// One that no file system takes for another place.
fn is_file_name(name: &str) -> bool {
    let length = (1..=255).contains(&name.len());
    length && name.is_ascii() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

fn one_line(error: &waypost_core::Error) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
}
