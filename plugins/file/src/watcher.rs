//! A watcher of the directory: the kernel's hints, and the house's paced relist.

use std::sync::Arc;
use std::time::Duration;

use waypost_core::{BoxWatcher, Result, WatchScope};
use waypost_plugin_kit::{Listing, hints, relist};

use crate::clock;
use crate::config::PROFILE;
use crate::hub::{Hub, Interest};
use crate::shared::Shared;
use crate::store::Store;

/// How often to list a directory about which the kernel gives no hints.
const WITHOUT_HINTS: Duration = Duration::from_secs(1);

pub(crate) fn watch(shared: &Arc<Shared>, scope: WatchScope, wake: Duration) -> BoxWatcher {
    let (hinter, hints) = hints();
    let hub = match shared.hub() {
        Ok(hub) => {
            hub.subscribe(Interest::from(&scope), hinter);
            Some(hub)
        }
        Err(cause) => {
            tracing::warn!(error = %cause, "the kernel gives no hints; listing every second");
            None
        }
    };
    let shared = Arc::clone(shared);
    let list = move || {
        let (shared, scope, hub) = (Arc::clone(&shared), scope.clone(), hub.clone());
        async move {
            let subject = scope.to_string();
            let work = move |store: &Store| list(store, &scope, hub.as_deref());
            shared.run(work).await.map_err(|error| {
                error
                    .with_operation("watch", subject)
                    .with_driver(PROFILE.driver)
            })
        }
    };
    relist(list, hints, wake)
}

fn list(store: &Store, scope: &WatchScope, hub: Option<&Hub>) -> Result<Listing> {
    // Nothing can be listened to but a directory. Where it cannot be made it is listed every second.
    let _ = store.place().make();
    let mut hinted = hub.is_some();
    let found = store.read(scope, &mut |directory, path| {
        hinted &= hub.is_some_and(|hub| hub.listen(directory, path));
    })?;
    let soon = (!hinted).then(|| clock::after(clock::now(), WITHOUT_HINTS));
    let due = found.expires.into_iter().chain(soon).min();
    Ok(Listing::new(found.instances).with_expiry(due.map(clock::instant)))
}
