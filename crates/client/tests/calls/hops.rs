//! Three hops of 60 ms under a total of 100 ms: the third never starts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use waypost_client::{CallOptions, Client, ErrorKind};
use waypost_core::{Address, Instance, Node, NodeId, RegisterOptions, Registry, ServiceName};
use waypost_memory::MemoryRegistry;
use waypost_resilience::ExpiryLayer;

use crate::stage::until;

const WORK: Duration = Duration::from_millis(60);

/// What one hop's server saw.
#[derive(Debug, Default)]
struct Seen {
    begun: AtomicU32,
    /// Work that went on after the deadline of the whole.
    late: AtomicU32,
    /// Work that came to its end.
    done: AtomicU32,
}

/// A service that works and then calls the next one, if there is one.
async fn hop(registry: &MemoryRegistry, number: u32, seen: Arc<Seen>, end: Instant) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let node = Node::new(
        NodeId::new("only").expect("id"),
        Address::new(&address).expect("address"),
    );
    let name = ServiceName::new(&format!("hop{number}")).expect("name");
    let lease = registry
        .register(
            &Instance::new(name, node),
            RegisterOptions::new(Duration::from_secs(600)),
        )
        .await
        .expect("registered");
    let client = Client::builder().registry(Arc::new(registry.clone()));
    let client = client.build().expect("client");
    tokio::spawn(async move {
        let _lease = lease;
        while let Ok((stream, _)) = listener.accept().await {
            let (client, seen) = (client.clone(), Arc::clone(&seen));
            let work = service_fn(move |_: Request<hyper::body::Incoming>| {
                let (client, seen) = (client.clone(), Arc::clone(&seen));
                async move { Ok::<_, Infallible>(work(client, number, &seen, end).await) }
            });
            let service = TowerToHyperService::new(ExpiryLayer::new().layer(work));
            tokio::spawn(async move {
                let builder = hyper::server::conn::http1::Builder::new();
                let _ = builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn work(client: Client, number: u32, seen: &Seen, end: Instant) -> Response<Full<Bytes>> {
    seen.begun.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(WORK).await;
    if number < 3 {
        let answer = client.get(format!("http://hop{}/", number + 1)).await;
        if !answer.is_ok_and(|answer| answer.status() == 200) {
            let mut failed = Response::new(Full::default());
            *failed.status_mut() = http::StatusCode::REQUEST_TIMEOUT;
            return failed;
        }
    }
    // A scheduler's delay is no work after the deadline.
    if Instant::now() > end + Duration::from_millis(40) {
        seen.late.fetch_add(1, Ordering::SeqCst);
    }
    seen.done.fetch_add(1, Ordering::SeqCst);
    Response::new(Full::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f49_of_three_hops_of_60_ms_under_100_ms_the_third_never_starts() {
    let registry = MemoryRegistry::new();
    let total = Duration::from_millis(100);
    let seen: Vec<Arc<Seen>> = (0..3).map(|_| Arc::default()).collect();
    let end = Instant::now() + total;
    for (number, seen) in (1..).zip(&seen) {
        hop(&registry, number, Arc::clone(seen), end).await;
    }
    let client = Client::builder().registry(Arc::new(registry)).retries(0);
    let client = client.build().expect("client");
    client.prepare("hop1").await.expect("known");
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = "http://hop1/".parse().expect("uri");
    let options = CallOptions::new().with_timeout(total);
    request.extensions_mut().insert(options);
    let begun = Instant::now();
    let result = client.request(request).await;
    let took = begun.elapsed();
    match result {
        Err(error) => assert_eq!((error.kind(), error.code()), (ErrorKind::Timeout, 408)),
        Ok(answer) => assert_eq!(
            answer.status(),
            408,
            "the server may be the first to say so"
        ),
    }
    assert!(took < total + Duration::from_millis(100), "{took:?}");
    until("the first two began", || {
        seen[0].begun.load(Ordering::SeqCst) == 1
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let count = |of: fn(&Seen) -> &AtomicU32| -> Vec<u32> {
        seen.iter()
            .map(|one| of(one).load(Ordering::SeqCst))
            .collect()
    };
    let begun = count(|one| &one.begun);
    // The first may ask the second twice: it has time for two tries.
    assert!(begun[0] == 1 && begun[1] >= 1, "{begun:?}");
    assert_eq!(begun[2], 0, "the third starts");
    assert_eq!(count(|one| &one.late), [0, 0, 0]);
    assert_eq!(count(|one| &one.done), [0, 0, 0], "dropped at the deadline");
}
