//! What a selector costs that hands each caller a copy of the list, as go-micro's is documented to:
//! its cache copies every node, and its strategy the slice of them.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, RwLock};

use crate::floor::{below, random};
use crate::measure::Contender;
use crate::nodes;

#[derive(Clone)]
struct Plain {
    _id: Arc<str>,
    _address: Arc<str>,
    _metadata: Arc<HashMap<String, String>>,
}

pub(super) fn contender(count: usize) -> Contender {
    let known: Vec<Box<Plain>> = (0..count)
        .map(|index| {
            Box::new(Plain {
                _id: format!("orders-{index}").into(),
                _address: nodes::address(index).to_string().into(),
                _metadata: Arc::default(),
            })
        })
        .collect();
    let services = RwLock::new(HashMap::from([("orders".to_owned(), known)]));
    Contender::new("copy the list, then pick (go-micro's way)", move |picks| {
        for _ in 0..picks {
            let Ok(services) = services.read() else {
                return;
            };
            let copied = services.get("orders").cloned().unwrap_or_default();
            drop(services);
            let offered: Vec<&Plain> = copied.iter().map(Box::as_ref).collect();
            let node = offered.get(below(random(), offered.len()));
            black_box(node.map(|node| std::ptr::from_ref::<Plain>(node)));
        }
    })
}
