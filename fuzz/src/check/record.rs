//! A record's JSON, and the key that it stands under.

use waypost_core::Instance;
use waypost_plugin_kit::{codec, layout};

use crate::memory::within;
use crate::rules;

/// Bytes that a byte of JSON may become: `{},` in a list of endpoints is the worst.
const GROWTH: usize = 400;

/// One record.
pub fn run(data: &[u8]) {
    let most = GROWTH * data.len() + 64 * codec::MAX_RECORD;
    let Ok(all) = within(most, || codec::decode(data)) else {
        let key = codec::decode_record("a", "b", data);
        assert!(key.is_err(), "what is no record is none under a key either");
        return endpoint(data);
    };
    all.iter().for_each(rules::keeps);
    // A record may have thousands of nodes, and each would be read as often as there are nodes.
    for instance in all.iter().take(3) {
        reads_back(instance);
        under_its_key(instance, &all, data);
    }
    if let Ok(other) = codec::decode_record("..", "x", data) {
        panic!("{other:?} under a key that no name makes");
    }
}

/// What is written is read.
pub(crate) fn reads_back(instance: &Instance) {
    let written = codec::encode(instance);
    if written.len() <= codec::MAX_RECORD {
        assert_eq!(
            codec::decode(&written).as_deref(),
            Ok(std::slice::from_ref(instance))
        );
    }
    if let Ok(checked) = codec::checked(instance) {
        assert_eq!(checked, written);
    }
}

/// The key is the authority.
fn under_its_key(instance: &Instance, all: &[Instance], data: &[u8]) {
    let service = layout::segment(instance.service.as_str());
    let node = layout::segment(instance.node.id.as_str());
    let same = |one: &&Instance| layout::segment(one.node.id.as_str()) == node;
    match codec::decode_record(&service, &node, data) {
        Ok(found) => assert_eq!(&found, instance),
        Err(reason) => assert!(all.iter().filter(same).count() > 1, "{reason}"),
    }
    let other = format!("{service}x");
    assert!(codec::decode_record(&other, &node, data).is_err());
}

fn endpoint(data: &[u8]) {
    let Ok(endpoint) = within(GROWTH * data.len() + 4096, || codec::decode_endpoint(data)) else {
        return;
    };
    let written = serde_json::to_vec(&endpoint).expect("an endpoint is JSON");
    if written.len() <= codec::MAX_RECORD {
        assert_eq!(codec::decode_endpoint(&written), Ok(endpoint));
    }
}
