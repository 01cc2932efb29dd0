use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{ServiceBuilder, ServiceExt};

use crate::{CALLS, Place, Tally};

pub async fn run(place: &Place) -> anyhow::Result<Tally> {
    let http = Client::builder(TokioExecutor::new()).build_http();
    let mut stack = ServiceBuilder::new()
        .timeout(Duration::from_secs(5))
        .service(http);
    let mut tally = Tally::default();
    for _ in 0..CALLS {
        let uri = format!("http://{}/hello", place.next());
        let request = Request::get(uri).body(Empty::<Bytes>::new())?;
        let answer = (&mut stack).oneshot(request).await;
        tally.note(answer.is_ok_and(|answer| answer.status().is_success()));
    }
    Ok(tally)
}
