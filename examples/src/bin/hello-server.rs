//! A service: `cargo run -p waypost-examples --bin hello-server`
use axum::{Json, Router, routing::post};
use clap::Parser;
use waypost::{Drivers, flags, server::Service};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    waypost: flags::Flags,
}

#[tokio::main]
async fn main() -> waypost::Result<()> {
    let cli = Cli::parse_from(flags::argv());
    let hello = |Json(name): Json<String>| async move { Json(format!("Hello, {name}!")) };
    let router = Router::new().route("/Greeter.Hello", post(hello));
    let greeter = Service::builder("greeter")
        .address("127.0.0.1:0")
        .serve(router);
    cli.waypost
        .connect(greeter, &Drivers::builtin(), "file")
        .await?
        .run()
        .await
}
