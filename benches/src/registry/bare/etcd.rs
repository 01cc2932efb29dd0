//! etcd: a watch of a prefix.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use etcd_client::{Client, WatchOptions};
use tokio::sync::mpsc;
use tokio::time::Instant;
use waypost_core::Instance;
use waypost_plugin_kit::codec;

use crate::registry::setting::{self, Setting};

use super::{Bare, Heard};

/// The etcd of the other measurements.
pub(crate) struct Etcd<'a> {
    setting: &'a Setting,
    writer: Client,
}

impl<'a> Etcd<'a> {
    pub(crate) async fn open(setting: &'a Setting) -> Result<Self> {
        let writer = setting.client().await?;
        Ok(Self { setting, writer })
    }
}

impl Bare for Etcd<'_> {
    const NAME: &'static str = "etcd";
    const APART: Duration = Duration::from_millis(3);
    const EVENTS: usize = 1000;
    const WRITES: usize = 200;

    fn url(&self, space: &str) -> String {
        self.setting.url(space)
    }

    async fn listen(&self, space: &str) -> Result<Heard> {
        let mut client = self.setting.client().await?;
        let options = WatchOptions::new().with_prefix();
        let key = format!("{}/", setting::prefix(space));
        let mut stream = client.watch(key, Some(options)).await?;
        let created = stream.message().await?.context("the watch ended at once")?;
        ensure!(created.created(), "the watch was not created");
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // The stream ends with the client.
            let _client = client;
            while let Ok(Some(events)) = stream.message().await {
                let now = Instant::now();
                if events.events().iter().any(|_| sender.send(now).is_err()) {
                    return;
                }
            }
        });
        Ok(heard)
    }

    async fn write(&mut self, space: &str, instance: &Instance) -> Result<()> {
        let (key, value) = (setting::key(space, instance), codec::encode(instance));
        self.writer.put(key, value, None).await?;
        Ok(())
    }

    async fn watches(&self) -> Result<f64> {
        self.setting.server.watchers().await
    }
}
