//! Health and readiness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tokio::time::timeout;
use waypost_memory::MemoryRegistry;
use waypost_server::Check;

use crate::common::{fetch, until};
use crate::subject::{Away, LIMIT, greeter, nodes};

#[tokio::test]
async fn failing_health_deregisters_and_passing_registers_again_without_flapping() {
    let registry = Arc::new(MemoryRegistry::new());
    let (well, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let check = {
        let (well, asked) = (Arc::clone(&well), Arc::clone(&asked));
        Check::new("db", move || {
            let well = well.load(SeqCst);
            asked.fetch_add(1, SeqCst);
            async move {
                if well {
                    Ok(())
                } else {
                    Err("no answer".into())
                }
            }
        })
        .every(Duration::from_millis(50))
    };
    let service = greeter(registry.clone())
        .check(check)
        .start()
        .await
        .expect("up");
    assert_eq!(nodes(&*registry).await.len(), 1);
    let admin = service.admin().expect("admin");

    let before = asked.load(SeqCst);
    well.store(false, SeqCst);
    until("deregistered", || async {
        nodes(&*registry).await.is_empty()
    })
    .await;
    let bad = asked.load(SeqCst) - before;
    assert!(bad >= 3, "left after {bad} bad answers");
    let (status, told) = fetch(admin, "/readyz?verbose").await.expect("answers");
    assert!(status == 503 && told.contains("[-]db no answer"), "{told}");
    assert_eq!(fetch(admin, "/livez").await.expect("answers").0, 200);
    assert_eq!(
        fetch(service.address(), "/hello")
            .await
            .expect("serves on")
            .0,
        200
    );

    let before = asked.load(SeqCst);
    well.store(true, SeqCst);
    until("registered again", || async {
        nodes(&*registry).await.len() == 1
    })
    .await;
    let good = asked.load(SeqCst) - before;
    assert!(good >= 2, "back after {good} good answers");
    timeout(LIMIT, service.ready()).await.expect("ready again");
    service.stop().await.expect("left");
}

#[tokio::test]
async fn a_service_whose_check_never_passed_is_never_registered() {
    let registry = Arc::new(MemoryRegistry::new());
    let check = Check::new("db", || async { Err("no".into()) }).every(Duration::from_millis(20));
    let service = greeter(registry.clone())
        .check(check)
        .start()
        .await
        .expect("serves");
    assert!(!service.is_ready() && nodes(&*registry).await.is_empty());
    service.stop().await.expect("left");
}

#[tokio::test]
async fn probes_on_the_services_own_port_tell_no_details() {
    let registry = Away::new(true);
    let service = greeter(registry)
        .probes()
        .without_admin()
        .start()
        .await
        .expect("serves");
    assert_eq!(service.admin(), None);
    assert!(
        !service
            .instance()
            .node
            .metadata
            .contains_key("waypost-admin")
    );
    let address = service.address();
    assert_eq!(fetch(address, "/livez").await.expect("answers").0, 200);
    let told = fetch(address, "/readyz?verbose").await.expect("answers");
    assert_eq!(told, (503, "not ready\n".to_owned()));
    assert_eq!(fetch(address, "/hello").await.expect("answers").0, 200);
    service.stop().await.expect("left");
}
