//! A watcher of records: the house's paced relist, at the pace of their ttl.

use futures_util::stream;
use tokio::time::Instant;
use waypost_core::{BoxWatcher, WatchScope};
use waypost_plugin_kit::{Listing, relist};

use crate::DnsRegistry;
use crate::config::PROFILE;

pub(crate) fn watch(registry: DnsRegistry, scope: WatchScope) -> BoxWatcher {
    let wake = registry.wake();
    let list = move || {
        let (registry, scope) = (registry.clone(), scope.clone());
        async move {
            let told = registry.read(&scope).await.map_err(|error| {
                error
                    .with_operation("watch", &scope)
                    .with_driver(PROFILE.driver)
            })?;
            let again = registry.good_for(&told).map(|good| Instant::now() + good);
            Ok(Listing::new(told.instances).with_expiry(again))
        }
    };
    relist(list, stream::pending(), wake)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use futures_util::StreamExt;
    use hickory_resolver::proto::rr::RecordType;
    use waypost_core::Event;

    use super::*;
    use crate::config::{Shape, Span};
    use crate::fake::{NEGATIVE, Table, orders};

    const SPAN: Span = Span {
        least: Duration::from_secs(1),
        most: Duration::from_secs(60),
    };

    fn watched(table: &Arc<Table>) -> BoxWatcher {
        let zone = table.zone(Shape::Targets, None);
        watch(DnsRegistry::over(zone, SPAN), orders().into())
    }

    /// How long it takes from the snapshot to the next event.
    async fn pause(lines: &[&str]) -> f64 {
        let mut watcher = watched(&Table::new(lines));
        let first = watcher.next().await.expect("event").expect("snapshot");
        assert!(matches!(first, Event::Snapshot(_)), "{first:?}");
        let before = Instant::now();
        assert_eq!(
            watcher.next().await.expect("event").expect("good"),
            Event::Confirmed
        );
        before.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_read_again_when_their_ttl_ends_within_bounds() {
        let srv = |ttl: u32| format!("_orders._tcp {ttl} SRV 0 0 80 a");
        for (ttl, low, high) in [
            (0, 1.0, 1.2),
            (1, 1.0, 1.2),
            (20, 20.0, 22.1),
            (9999, 54.0, 66.1),
        ] {
            let took = pause(&[&srv(ttl), "a 9999 A 10.0.0.1"]).await;
            assert!((low..=high).contains(&took), "ttl {ttl}: {took}");
        }
        let took = pause(&[]).await;
        let negative = f64::from(NEGATIVE);
        assert!((negative..=negative * 1.1 + 0.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ttl_of_zero_makes_no_busy_loop() {
        let table = Table::new(&["_orders._tcp 0 SRV 0 0 80 a", "a 0 A 10.0.0.1"]);
        let mut watcher = watched(&table);
        let end = Instant::now() + Duration::from_secs(100);
        while Instant::now() < end {
            watcher.next().await.expect("event").expect("good");
        }
        let asked = table.asked.load(Ordering::SeqCst);
        assert!((85..=105).contains(&asked), "{asked} questions in 100 s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_is_told_in_one_event_and_a_failure_ends_the_watch() {
        let table = Table::new(&["_orders._tcp 5 SRV 0 0 80 a", "a 5 A 10.0.0.1"]);
        let mut watcher = watched(&table);
        watcher.next().await.expect("event").expect("snapshot");
        table.set(&[
            "_orders._tcp 5 SRV 0 0 81 a",
            "_orders._tcp 5 SRV 0 0 82 a",
            "a 5 A 10.0.0.1",
        ]);
        let Some(Ok(Event::Changed(changes))) = watcher.next().await else {
            panic!("a change");
        };
        assert_eq!(changes.len(), 3, "{changes:?}");
        table.fail(RecordType::SRV);
        let error = watcher.next().await.expect("event").expect_err("silence");
        assert_eq!(error.to_string(), "dns: watch orders: the fake is silent");
        assert!(watcher.next().await.is_none());
    }
}
