use reqwest_middleware::ClientBuilder;
use waypost::client::Client;

use crate::{CALLS, Place, Tally};

pub async fn run(place: &Place) -> anyhow::Result<Tally> {
    let http = reqwest::Client::new();
    let client = Client::builder().registry(place.registry()).build()?;
    let http = ClientBuilder::new(http).with(client.reqwest()).build();
    let mut tally = Tally::default();
    for _ in 0..CALLS {
        let node = "greeter";
        let answer = http.get(format!("http://{node}/hello")).send().await;
        tally.note(answer.is_ok_and(|answer| answer.status().is_success()));
    }
    Ok(tally)
}
