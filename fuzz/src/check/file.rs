//! A record's file in the file registry.

use waypost_plugin_kit::codec;

use crate::check::record;
use crate::clock::Boot;
use crate::rules;
use crate::sources::head::{self, DEADLINE_AT, Fault, Head, LENGTH};

/// One file.
pub fn run(data: &[u8]) {
    let head = match Head::parse(data) {
        Ok(head) => head,
        Err(fault) => {
            assert!(data.len() >= LENGTH || fault == Fault::Foreign);
            return;
        }
    };
    let mut file = data.to_vec();
    if let Ok(all) = codec::decode(head::strip(&mut file)) {
        all.iter().for_each(rules::keeps);
        all.iter().for_each(record::reads_back);
    }
    let written = head.before(b"{}");
    assert_eq!(Head::parse(&written).as_ref(), Ok(&head));
    assert_eq!(written.len(), LENGTH + 1);
    assert_eq!(head::strip(&mut written.clone()), b"{}");
    let boot = Boot(head.boot.clone());
    assert_eq!(head.is_live(&boot, 0), head.deadline > 0);
    renewed(&head, written);
}

/// A renewal in place changes the deadline and nothing else.
fn renewed(head: &Head, mut file: Vec<u8>) {
    let text = head::deadline(u64::MAX);
    let at = usize::try_from(DEADLINE_AT).expect("small");
    file[at..at + text.len()].copy_from_slice(text.as_bytes());
    let mut later = head.clone();
    later.deadline = u64::MAX;
    assert_eq!(Head::parse(&file), Ok(later));
}
