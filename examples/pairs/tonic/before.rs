use tonic::transport::{Channel, Endpoint};
use waypost_examples::hello::HelloRequest;
use waypost_examples::hello::greeter_client::GreeterClient;

use crate::{CALLS, Place, Tally};

pub async fn run(place: &Place) -> anyhow::Result<Tally> {
    let nodes = place
        .nodes
        .iter()
        .map(|node| Endpoint::from_shared(format!("http://{node}")).unwrap());
    let channel = Channel::balance_list(nodes);
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
