//! What a watcher has not read yet.

use std::collections::{BTreeMap, VecDeque};

use waypost_core::{Change, Event, InstanceKey};

use crate::Known;

/// Unread events, folded to the latest state of each record when there are too many.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Events with the changes that each weighs; a folded one weighs nothing, since its size is
    /// bounded already.
    events: VecDeque<(Event, usize)>,
    weight: usize,
    capacity: usize,
    /// What the reader knows by what it has read: a record that came and went unseen needs not
    /// be told of, else such records would pile up before a reader that is stuck.
    known: Known,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            events: VecDeque::new(),
            weight: 0,
            capacity: capacity.max(1),
            known: Known::new(),
        }
    }

    pub(crate) fn push(&mut self, event: Event) {
        let weight = match &event {
            // Nothing that was said before a snapshot matters after it.
            Event::Snapshot(_) => {
                self.events.clear();
                self.weight = 0;
                0
            }
            Event::Changed(changes) if changes.is_empty() => return,
            Event::Changed(changes) => changes.len(),
            Event::Confirmed if matches!(self.events.back(), Some((Event::Confirmed, _))) => return,
            Event::Confirmed => 1,
        };
        self.events.push_back((event, weight));
        self.weight += weight;
        if self.weight > self.capacity {
            self.fold();
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let (event, weight) = self.events.pop_front()?;
        self.weight -= weight;
        match &event {
            Event::Snapshot(all) => self.known = all.iter().cloned().collect(),
            Event::Changed(changes) => changes.iter().for_each(|change| {
                self.known.apply(change);
            }),
            Event::Confirmed => {}
        }
        Some(event)
    }

    /// Makes one event of all: what the reader needs to know what is true now.
    fn fold(&mut self) {
        self.weight = 0;
        let mut snapshot: Option<Known> = None;
        let mut latest: BTreeMap<InstanceKey, Change> = BTreeMap::new();
        for (event, _) in std::mem::take(&mut self.events) {
            match (event, &mut snapshot) {
                (Event::Snapshot(all), _) => snapshot = Some(all.into_iter().collect()),
                (Event::Changed(changes), Some(snapshot)) => {
                    snapshot.apply_all(changes);
                }
                (Event::Changed(changes), None) => {
                    latest.extend(changes.into_iter().map(|change| (change.key(), change)));
                }
                (Event::Confirmed, _) => {}
            }
        }
        let event = match snapshot {
            Some(snapshot) => Event::Snapshot(snapshot.instances()),
            None => {
                latest.retain(|_, change| self.known.differs(change));
                if latest.is_empty() {
                    return;
                }
                Event::Changed(latest.into_values().collect())
            }
        };
        self.events.push_back((event, 0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waypost_core::{Address, Instance, Node, NodeId, ServiceName};

    use super::*;

    fn instance(node: u16, version: u8) -> Instance {
        let node = Node::new(
            NodeId::new(&format!("n{node}")).expect("id"),
            Address::new("10.0.0.1:80").expect("address"),
        );
        Instance::new(ServiceName::new("orders").expect("name"), node)
            .with_version(version.to_string())
    }

    fn size(queue: &Queue) -> usize {
        let sizes = queue.events.iter().map(|(event, _)| match event {
            Event::Snapshot(all) => all.len(),
            Event::Changed(changes) => changes.len(),
            Event::Confirmed => 1,
        });
        sizes.sum()
    }

    #[test]
    fn a_stuck_reader_costs_bounded_memory_even_if_every_name_is_new() {
        let mut queue = Queue::new(16);
        queue.push(Event::Snapshot(vec![instance(0, 0).into()]));
        queue.pop();
        for n in 1..2000 {
            queue.push(Event::Changed(vec![Change::Upsert(instance(n, 0).into())]));
            queue.push(Event::Changed(vec![Change::Remove(instance(n, 0).key())]));
            queue.push(Event::Confirmed);
            assert!(size(&queue) <= 20, "{}", size(&queue));
        }
    }

    #[test]
    fn a_reader_that_keeps_up_sees_every_event_as_it_was() {
        let mut queue = Queue::new(16);
        for version in 0..100 {
            let event = Event::Changed(vec![Change::Upsert(instance(0, version).into())]);
            queue.push(event.clone());
            assert_eq!(queue.pop(), Some(event));
            assert_eq!(queue.pop(), None);
        }
    }

    #[derive(Debug, Clone)]
    enum Move {
        Upsert(u16, u8),
        Remove(u16),
        Snapshot,
        Confirm,
        Read,
    }

    fn any_move() -> impl Strategy<Value = Move> {
        prop_oneof![
            6 => (0..6u16, 0..3u8).prop_map(|(n, v)| Move::Upsert(n, v)),
            4 => (0..6u16).prop_map(Move::Remove),
            1 => Just(Move::Snapshot),
            1 => Just(Move::Confirm),
            3 => Just(Move::Read),
        ]
    }

    proptest! {
        #[test]
        fn however_slow_the_reader_it_ends_with_the_right_state(
            moves in prop::collection::vec(any_move(), 0..80), capacity in 1..8usize,
        ) {
            let mut queue = Queue::new(capacity);
            let (mut truth, mut reader) = (Known::new(), Known::new());
            let read = |reader: &mut Known, event| match event {
                Event::Snapshot(all) => { reader.replace(all); }
                Event::Changed(changes) => { reader.apply_all(changes); }
                Event::Confirmed => {}
            };
            for step in moves {
                let change = match step {
                    Move::Upsert(n, v) => Change::Upsert(instance(n, v).into()),
                    Move::Remove(n) => Change::Remove(instance(n, 0).key()),
                    Move::Snapshot => { queue.push(Event::Snapshot(truth.instances())); continue }
                    Move::Confirm => { queue.push(Event::Confirmed); continue }
                    Move::Read => {
                        if let Some(event) = queue.pop() { read(&mut reader, event); }
                        continue
                    }
                };
                truth.apply(&change);
                queue.push(Event::Changed(vec![change]));
            }
            while let Some(event) = queue.pop() { read(&mut reader, event); }
            prop_assert_eq!(reader, truth);
        }
    }
}
