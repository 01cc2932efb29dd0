use waypost::client::Client;
use waypost_examples::hello::HelloRequest;
use waypost_examples::hello::greeter_client::GreeterClient;

use crate::{CALLS, Place, Tally};

pub async fn run(place: &Place) -> anyhow::Result<Tally> {
    let client = Client::builder().registry(place.registry()).build()?;
    let channel = client.tonic("greeter")?;
    let mut greeter = GreeterClient::new(channel);
    let mut tally = Tally::default();
    for _ in 0..CALLS {
        let ask = HelloRequest {
            name: "Ann".to_owned(),
        };
        tally.note(greeter.hello(ask).await.is_ok());
    }
    Ok(tally)
}
