//! How a backend's server is started.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Server;
use crate::Missing;

/// Most bytes of an answer that are read.
const MOST_BYTES: usize = 1 << 20;

/// One backend: its image and how to tell that it serves.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Recipe {
    /// The plugin's name, which `docker/images.sh` takes.
    pub name: &'static str,
    /// The image, unless the environment names another one.
    pub image: &'static str,
    /// Names the variable that names another image.
    pub image_variable: &'static str,
    /// Names the variable with the address of a server to use instead of a container.
    pub address_variable: &'static str,
    /// The port inside the container.
    pub port: u16,
    /// Whether the port takes datagrams as well as connections.
    pub datagrams: bool,
    /// Where the server keeps its data in the container; empty where it keeps none.
    pub data: &'static str,
    /// Variables of the container's environment.
    pub environment: &'static [(&'static str, &'static str)],
    /// Sent to the port, …
    pub(super) question: &'static str,
    /// … and what the answer contains once the server serves.
    pub(super) answer: &'static str,
}

/// What one server is given beyond its recipe.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    /// In place of the image's arguments.
    pub(super) arguments: Vec<String>,
    /// More variables.
    pub(super) environment: Vec<(String, String)>,
    /// A network, and its name there, which is the container's; else Docker's choice.
    pub(super) place: Option<(String, String)>,
    /// Files, with their paths, that are there before it starts.
    pub(super) files: Vec<(String, String)>,
}

impl Recipe {
    /// The image to use: what the environment names, else the default.
    #[must_use]
    pub fn image(&self) -> String {
        std::env::var(self.image_variable).unwrap_or_else(|_| self.image.to_owned())
    }

    /// What the environment names, else a server that is started once.
    pub(super) async fn shared(&self, server: &OnceCell<Server>) -> Result<String, Missing> {
        if let Ok(address) = std::env::var(self.address_variable) {
            return Ok(address);
        }
        let server = server.get_or_try_init(|| Server::start(self)).await?;
        Ok(server.address())
    }

    /// Whether the server at this port of this machine serves.
    pub(super) async fn serves(&self, port: u16) -> bool {
        let answer = self.ask(port, self.question, Some(self.answer)).await;
        answer.is_some_and(|answer| answer.contains(self.answer))
    }

    /// What the server at this port of this machine answers, up to its end or to what is `enough`,
    /// since some keep the connection open; nothing within a second is no answer.
    pub(super) async fn ask(
        &self,
        port: u16,
        question: &str,
        enough: Option<&str>,
    ) -> Option<String> {
        let asked = timeout(Duration::from_secs(1), async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(question.as_bytes()).await?;
            let mut answer = Vec::new();
            while answer.len() < MOST_BYTES && stream.read_buf(&mut answer).await? > 0 {
                let heard = String::from_utf8_lossy(&answer);
                if enough.is_some_and(|enough| heard.contains(enough)) {
                    break;
                }
            }
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
        });
        asked.await.ok()?.ok()
    }
}
