//! ZooKeeper: a persistent recursive watch, and a read of each znode that it names.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use waypost_core::Instance;
use waypost_plugin_kit::codec;
use waypost_testkit::containers::{Server, ZOOKEEPER};
use zookeeper_client::{Acls, AddWatchMode, Client, CreateMode, Error, EventType};

use crate::registry::setting;

use super::{Bare, Heard, service};

/// A ZooKeeper of our own, in a container.
pub(crate) struct ZooKeeper {
    server: Server,
    writer: Client,
}

impl ZooKeeper {
    pub(crate) async fn open() -> Result<Self> {
        let server = Server::start(&ZOOKEEPER).await?;
        let writer = Client::connect(&server.address()).await?;
        Ok(Self { server, writer })
    }

    async fn make(&self, path: &str) -> Result<()> {
        let folder = CreateMode::Persistent.with_acls(Acls::anyone_all());
        Ok(self.writer.mkdir(path, &folder).await?)
    }
}

impl Bare for ZooKeeper {
    const NAME: &'static str = "zookeeper";
    const APART: Duration = Duration::from_millis(3);
    const EVENTS: usize = 1000;
    const WRITES: usize = 200;

    fn url(&self, space: &str) -> String {
        let address = self.server.address();
        format!("zookeeper://{address}{}", setting::prefix(space))
    }

    async fn listen(&self, space: &str) -> Result<Heard> {
        let top = format!("{}/{}", setting::prefix(space), service(space)?);
        self.make(&top).await?;
        let client = Client::connect(&self.server.address()).await?;
        let mut watcher = client
            .watch(&top, AddWatchMode::PersistentRecursive)
            .await?;
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let event = watcher.changed().await;
                match event.event_type {
                    EventType::NodeCreated => {}
                    // The connection is lost, and with it the watch, which must not be asked again.
                    EventType::Session => return,
                    _ => continue,
                }
                if client.get_data(&event.path).await.is_err()
                    || sender.send(Instant::now()).is_err()
                {
                    return;
                }
            }
        });
        Ok(heard)
    }

    async fn write(&mut self, space: &str, instance: &Instance) -> Result<()> {
        // Gone with the writer's session.
        let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
        let value = codec::encode(instance);
        let path = setting::key(space, instance);
        let created = self.writer.create(&path, &value, &ephemeral).await;
        if created == Err(Error::NoNode) {
            let (above, _) = path.rsplit_once('/').context("a key has a service")?;
            self.make(above).await?;
            self.writer.create(&path, &value, &ephemeral).await?;
            return Ok(());
        }
        created?;
        Ok(())
    }

    /// The watches of all connections, as `wchs` counts them.
    async fn watches(&self) -> Result<f64> {
        let mut stream = TcpStream::connect(self.server.address()).await?;
        stream.write_all(b"wchs").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("Total watches:"));
        Ok(count.context("wchs tells no number")?.trim().parse()?)
    }
}
