//! The directory's copy on disk.

use std::sync::Arc;

use waypost_core::{ServiceName, WatchScope};

use crate::memory::within;
use crate::rules;
use crate::sources::disk::{parse, render};

/// Bytes that a byte of the file may become.
const GROWTH: usize = 400;

/// One file.
pub fn run(data: &[u8]) {
    let orders = ServiceName::new("orders").expect("a name");
    for scope in [WatchScope::All, WatchScope::Service(orders)] {
        let most = GROWTH * data.len() + 65_536;
        let Ok(all) = within(most, || parse(data, &scope)) else {
            continue;
        };
        for instance in &all {
            rules::keeps(instance);
            assert!(scope.covers(&instance.service));
        }
        let shared: Vec<_> = all.iter().cloned().map(Arc::new).collect();
        let written = render(&scope, &shared).expect("instances are JSON");
        assert_eq!(parse(&written, &scope).expect("what was written"), all);
    }
}
