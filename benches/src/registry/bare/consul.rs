//! Consul: a blocking query of a service, decoded.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use waypost_core::Instance;
use waypost_testkit::containers::{CONSUL, Server};

use super::{Bare, Heard, service};

/// A Consul agent of our own, in a container.
pub(crate) struct Consul {
    server: Server,
    writer: Client,
}

impl Consul {
    pub(crate) async fn open() -> Result<Self> {
        let server = Server::start(&CONSUL).await?;
        let writer = client()?;
        Ok(Self { server, writer })
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}/v1/{path}", self.server.address())
    }
}

fn client() -> Result<Client> {
    Ok(Client::builder().no_proxy().build()?)
}

/// The index to block on next, and how many entries there are.
async fn decoded(answer: Response) -> Result<(String, usize)> {
    let answer = answer.error_for_status()?;
    let index = answer.headers().get("x-consul-index");
    let index = index.context("no index")?.to_str()?.to_owned();
    let entries: Vec<Value> = answer.json().await?;
    Ok((index, entries.len()))
}

impl Bare for Consul {
    const NAME: &'static str = "consul";
    /// Below the pace that both the agent's and our loop keep to.
    const APART: Duration = Duration::from_millis(300);
    const EVENTS: usize = 200;
    const WRITES: usize = 60;

    fn url(&self, _space: &str) -> String {
        format!("consul://{}", self.server.address())
    }

    async fn listen(&self, space: &str) -> Result<Heard> {
        let client = client()?;
        let path = format!("health/service/{}?passing=1", service(space)?);
        let first = client.get(self.at(&path)).send().await?;
        let (mut index, mut known) = decoded(first).await?;
        let at = self.at(&path);
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let query = client.get(format!("{at}&index={index}&wait=60s"));
                let Ok(answer) = query.send().await else {
                    return;
                };
                let Ok((next, count)) = decoded(answer).await else {
                    return;
                };
                let now = Instant::now();
                index = next;
                if (known..count).any(|_| sender.send(now).is_err()) {
                    return;
                }
                known = count;
            }
        });
        Ok(heard)
    }

    async fn write(&mut self, _space: &str, instance: &Instance) -> Result<()> {
        let port: u16 = instance.node.address.port();
        let body = json!({
            "ID": instance.node.id.as_str(),
            "Name": instance.service.as_str(),
            "Address": instance.node.address.host(),
            "Port": port,
        });
        let put = self.writer.put(self.at("agent/service/register"));
        put.json(&body).send().await?.error_for_status()?;
        Ok(())
    }

    /// The connections of this process to the agent: a blocking query holds one.
    async fn watches(&self) -> Result<f64> {
        let port = self.server.address();
        let port: u16 = port
            .rsplit_once(':')
            .context("an address has a port")?
            .1
            .parse()?;
        let (remote, established) = (format!(":{port:04X}"), "01");
        let table = std::fs::read_to_string("/proc/self/net/tcp")?;
        let ours = table.lines().filter(|line| {
            let mut words = line.split_whitespace().skip(2);
            words.next().is_some_and(|peer| peer.ends_with(&remote))
                && words.next() == Some(established)
        });
        Ok(ours.count() as f64)
    }
}
