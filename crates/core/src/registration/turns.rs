//! Who may write now. Ten thousand registrations that start, or lose their leases, together would
//! otherwise queue in the backend until they time out there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tokio::sync::Semaphore;

use crate::Registry;

/// The turns of the registries that have keepers, by where the registry is in memory: it stays there
/// for as long as a keeper has its turns.
type Known = HashMap<usize, Weak<Semaphore>>;

/// The turns that all keepers of `registry` share.
pub(super) fn of(registry: &Arc<dyn Registry>) -> Arc<Semaphore> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Arc::as_ptr(registry).cast::<()>().addr();
    if let Some(turns) = known.get(&place).and_then(Weak::upgrade) {
        return turns;
    }
    known.retain(|_, turns| turns.strong_count() > 0);
    let at_once = registry.profile().writes_at_once.max(1);
    let turns = Arc::new(Semaphore::new(at_once.into()));
    known.insert(place, Arc::downgrade(&turns));
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeRegistry;

    #[test]
    fn keepers_of_one_registry_share_their_turns() {
        let one: Arc<dyn Registry> = FakeRegistry::new();
        let other: Arc<dyn Registry> = FakeRegistry::new();
        let turns = of(&one);
        assert!(Arc::ptr_eq(&turns, &of(&Arc::clone(&one))));
        assert!(!Arc::ptr_eq(&turns, &of(&other)));
        assert_eq!(
            turns.available_permits(),
            usize::from(one.profile().writes_at_once)
        );
    }
}
