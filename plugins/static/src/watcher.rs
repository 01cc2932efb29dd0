//! A watcher of the list: the house's paced relist.

use std::time::Duration;

use futures_util::stream;
use waypost_core::{BoxWatcher, WatchScope};
use waypost_plugin_kit::{Listing, relist};

use crate::StaticRegistry;
use crate::config::PROFILE;

pub(crate) fn watch(registry: StaticRegistry, scope: WatchScope, wake: Duration) -> BoxWatcher {
    let list = move || {
        let (registry, scope) = (registry.clone(), scope.clone());
        async move {
            let all = registry.all().await.map_err(|error| {
                error
                    .with_operation("watch", &scope)
                    .with_driver(PROFILE.driver)
            })?;
            let covered = all.into_iter().filter(|one| scope.covers(&one.service));
            Ok(Listing::new(covered))
        }
    };
    relist(list, stream::pending(), wake)
}
