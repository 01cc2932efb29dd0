//! A client and a service that tonic generated: `cargo run -p waypost-examples --bin tonic`
use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};
use waypost::client::Client;
use waypost::server::Service;
use waypost::{Drivers, Target};
use waypost_examples::hello::greeter_client::GreeterClient;
use waypost_examples::hello::greeter_server::{Greeter, GreeterServer};
use waypost_examples::hello::{HelloReply, HelloRequest};

struct Polite;

#[tonic::async_trait]
impl Greeter for Polite {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let name = request.into_inner().name;
        if name.is_empty() {
            return Err(Status::invalid_argument("nobody to greet"));
        }
        let text = format!("Hello, {name}!");
        Ok(Response::new(HelloReply { text }))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registry = Drivers::builtin().connect(&Target::new("memory")?).await?;
    let service = Service::builder("greeter")
        .address("127.0.0.1:0")
        .propagation(Duration::ZERO);
    let service = service.registry(Arc::clone(&registry));
    let running = service
        .serve_grpc(GreeterServer::new(Polite))
        .start()
        .await?;
    running.ready().await;

    let client = Client::builder().registry(registry).build()?;
    let mut greeter = GreeterClient::new(client.tonic("greeter")?);
    let ask = |name: &str| HelloRequest {
        name: name.to_owned(),
    };
    println!("{}", greeter.hello(ask("Ann")).await?.into_inner().text);
    let status = greeter.hello(ask("")).await.unwrap_err();
    println!("{:?}: {}", status.code(), status.message());
    let mut nobody = GreeterClient::new(client.tonic("nobody")?);
    let status = nobody.hello(ask("Ann")).await.unwrap_err();
    println!("{:?}: {}", status.code(), status.message());
    running.stop().await?;
    Ok(())
}
