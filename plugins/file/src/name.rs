//! Names as file names, without two names for one file.

use std::borrow::Cow;
use std::fmt::Write as _;

use waypost_core::{NodeId, ServiceName};

/// How the file of every record ends.
const ENDING: &str = ".json";
/// Longest encoded name; file systems take 255 bytes with the ending.
const LONGEST: usize = 200;
/// How much of a longer one is kept before its hash.
const KEPT: usize = 160;

/// The directory of a service.
pub(crate) fn directory(service: &ServiceName) -> String {
    encode(service.as_str()).into_owned()
}

/// The file of a node.
pub(crate) fn file(node: &NodeId) -> String {
    format!("{}{ENDING}", encode(node.as_str()))
}

/// Whether `name` could be a record's.
pub(crate) fn is_file(name: &str) -> bool {
    name.ends_with(ENDING)
}

/// Letters, digits, `-`, `_` and inner dots stay; other bytes become `%XX`, and a name that is too
/// long ends in `~` and its hash. Neither `%` nor `~` stays as it is, so that the way back is
/// unambiguous; a name never begins with a dot, as hidden files do.
fn encode(name: &str) -> Cow<'_, str> {
    let stays = |(at, byte): (usize, u8)| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && at > 0)
    };
    if name.len() <= LONGEST && name.bytes().enumerate().all(stays) {
        return Cow::Borrowed(name);
    }
    let mut encoded = String::with_capacity(name.len() * 3);
    for (at, byte) in name.bytes().enumerate() {
        if stays((at, byte)) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    if encoded.len() > LONGEST {
        encoded.truncate(KEPT);
        let _ = write!(encoded, "~{:032x}", hash(name.as_bytes()));
    }
    Cow::Owned(encoded)
}

/// FNV-1a with 128 bits: the same in every build, as a hash on disk has to be.
fn hash(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_stay_and_odd_ones_are_encoded() {
        for (name, encoded) in [
            ("orders", "orders"),
            ("go.micro.srv", "go.micro.srv"),
            ("a/b", "a%2Fb"),
            ("a-b", "a-b"),
            ("a%2Fb", "a%252Fb"),
            (".x", "%2Ex"),
            ("..", "%2E."),
            ("a~b", "a%7Eb"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(encode(name), encoded);
        }
        assert_eq!(hash(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(hash(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    proptest! {
        #[test]
        fn different_names_have_different_files(a in "\\PC{1,120}", b in "\\PC{1,120}") {
            prop_assert_eq!(encode(&a) == encode(&b), a == b);
        }

        #[test]
        fn every_name_makes_a_file_name(name in "\\PC{1,400}") {
            let encoded = encode(&name);
            prop_assert!(encoded.len() + ENDING.len() <= 255 && !encoded.is_empty());
            prop_assert!(!encoded.starts_with('.') && !encoded.contains('/'));
            let long = format!("{name}{}", "x".repeat(300));
            let longer = format!("{long}x");
            prop_assert_ne!(encode(&long), encode(&longer));
        }
    }
}
