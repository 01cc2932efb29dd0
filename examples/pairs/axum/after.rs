use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use waypost::client::Client;

use crate::{Place, Tally};

async fn front(State((http, _)): State<(Client, Place)>) -> StatusCode {
    let answer = http.get("http://greeter/hello").await;
    answer.map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
}

pub async fn run(place: &Place) -> anyhow::Result<Tally> {
    let http = Client::builder().registry(place.registry()).build()?;
    let router = Router::new()
        .route("/", get(front))
        .with_state((http, place.clone()));
    crate::call_front(router).await
}
