//! The admin listener.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use waypost_server::{Admin, Page};

use crate::common::{fetch, until};

#[tokio::test]
async fn the_admin_listener_has_pages_of_any_part_of_the_program_and_no_service_is_needed() {
    let admin = Admin::new();
    let listener = admin.listen("127.0.0.1:0").await.expect("listens");
    let address: SocketAddr = listener.address();
    admin
        .page("/version", |_| async { Page::text("1.2.0\n") })
        .expect("a path");
    let picks = |query: waypost_server::Query| async move {
        query.get("service").unwrap_or("all").to_owned()
    };
    admin
        .section("/explain", "client", picks)
        .expect("a section");
    assert!(admin.page("version", |_| async { Page::text("") }).is_err());
    assert!(admin.section("/version", "x", |_| async { 1 }).is_err());
    assert_eq!(
        fetch(address, "/version").await.expect("answers"),
        (200, "1.2.0\n".to_owned())
    );
    let (_, index) = fetch(address, "/").await.expect("answers");
    assert!(
        index.contains("/version\n") && index.contains("/stats\n"),
        "{index}"
    );
    let (status, told) = fetch(address, "/explain?service=a%2Fb")
        .await
        .expect("answers");
    let told: serde_json::Value = serde_json::from_str(&told).expect("json");
    assert_eq!((status, &told["client"]), (200, &"a/b".into()));
    assert_eq!(fetch(address, "/readyz").await.expect("answers").0, 200);
    admin
        .page("/wild", |_| async { panic!("a page's own") })
        .expect("a path");
    assert_eq!(fetch(address, "/wild").await.expect("answers").0, 500);
    assert_eq!(fetch(address, "/nothing").await.expect("answers").0, 404);
    drop(listener);
    until("closed", || async {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    assert_eq!(admin.address(), None);
}
