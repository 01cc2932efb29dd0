//! A call: `cargo run -p waypost-examples --bin hello-client -- Ann`
use clap::Parser;
use waypost::{Drivers, client::Client, flags};

#[derive(Parser)]
struct Cli {
    name: String,
    #[command(flatten)]
    waypost: flags::Flags,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse_from(flags::argv());
    let client = cli
        .waypost
        .client(Client::builder(), &Drivers::builtin(), "file")
        .await?
        .build()?;
    let reply: String = client.call("greeter", "Greeter.Hello", &cli.name).await?;
    println!("{reply}");
    Ok(())
}
