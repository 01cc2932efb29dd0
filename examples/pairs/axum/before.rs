use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::{Place, Tally};

async fn front(State((http, place)): State<(reqwest::Client, Place)>) -> StatusCode {
    let node = place.next();
    let answer = http.get(format!("http://{node}/hello")).send().await;
    answer.map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
}

pub async fn run(place: &Place) -> anyhow::Result<Tally> {
    let http = reqwest::Client::new();
    let router = Router::new()
        .route("/", get(front))
        .with_state((http, place.clone()));
    crate::call_front(router).await
}
