use crate::{CALLS, Place, Tally};

pub async fn run(place: &Place) -> anyhow::Result<Tally> {
    let http = reqwest::Client::new();
    let mut tally = Tally::default();
    for _ in 0..CALLS {
        let node = place.next();
        let answer = http.get(format!("http://{node}/hello")).send().await;
        tally.note(answer.is_ok_and(|answer| answer.status().is_success()));
    }
    Ok(tally)
}
