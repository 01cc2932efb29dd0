//! One server in one container.

mod fault;
mod inside;

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tempfile::TempDir;
use testcontainers::bollard::Docker;
use testcontainers::core::IntoContainerPort;
use testcontainers::core::Mount;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::time::{Instant, sleep};
use waypost_core::{Error, Result};

use super::caller::Caller;
use super::image::{name_and_tag, prepare};
use super::reaper::Reaper;
use super::sweep::{LABEL, MACHINE, machine};
use super::{Launch, Recipe};
use crate::Missing;

pub use inside::Output;

/// How long a server may take until it serves.
const READY: Duration = Duration::from_secs(60);
/// Names the variable with a folder of this machine for servers' data, in memory say; else they are
/// in the containers. A slow disk that others write to as well makes servers stand still for seconds.
const DATA: &str = "WAYPOST_TEST_DATA";

/// A running server on a port of this machine that stays the same through every fault.
///
/// Dropping it removes the container.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    port: u16,
    /// `None` only while it is dropped.
    container: Option<ContainerAsync<GenericImage>>,
    reaper: Option<Reaper>,
    /// Its data, if they are on this machine. It goes after the container.
    data: Option<TempDir>,
}

impl Server {
    /// Starts a server of `recipe`, with what its image runs by default, and waits until it
    /// serves.
    ///
    /// # Errors
    /// [`Missing`] when Docker cannot be reached, the image is not there, or the server does not
    /// serve within a minute.
    ///
    /// # Cancel safety
    /// A start that is given up leaves a container that ends with the process.
    pub async fn start(recipe: &Recipe) -> Result<Self, Missing> {
        Self::start_with(recipe, &[]).await
    }

    /// As [`Server::start`], with these arguments in place of the image's.
    ///
    /// # Errors
    /// As [`Server::start`].
    ///
    /// # Cancel safety
    /// As [`Server::start`].
    pub async fn start_with(recipe: &Recipe, arguments: &[&str]) -> Result<Self, Missing> {
        prepare(recipe).await?;
        let arguments = arguments.iter().copied();
        Self::start_as(Launch::new(recipe).with_arguments(arguments)).await
    }

    /// Starts a server after [`prepare`], and waits until it serves.
    pub(super) async fn start_as(launch: Launch) -> Result<Self, Missing> {
        let port = free_port().map_err(|error| Missing::new(format!("no free port: {error}")))?;
        let mut server = Self {
            launch,
            port,
            container: None,
            reaper: None,
            data: None,
        };
        server
            .create()
            .await
            .map_err(|error| Missing::new(error.chain()))?;
        Ok(server)
    }

    async fn create(&mut self) -> Result<()> {
        let Launch { recipe, setup, .. } = &self.launch;
        let full = recipe.image();
        let (name, tag) = name_and_tag(&full);
        let image = GenericImage::new(name, tag)
            .with_mapped_port(self.port, recipe.port.tcp())
            .with_label(LABEL, std::process::id().to_string())
            .with_label(MACHINE, machine())
            .with_cmd(setup.arguments.iter().cloned());
        let image = match recipe.datagrams {
            true => image.with_mapped_port(self.port, recipe.port.udp()),
            false => image,
        };
        let image = match &setup.place {
            Some((network, name)) => image.with_network(network).with_container_name(name),
            None => image,
        };
        let variables = recipe.environment.iter();
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let image = variables
            .chain(setup.environment.iter().cloned())
            .fold(image, |image, (name, value)| {
                image.with_env_var(name, value)
            });
        let data = folder(recipe).map_err(|error| {
            Error::unavailable(format!("{DATA}: no folder for data")).with_source(error)
        })?;
        let image = match &data {
            Some(folder) => {
                let path = folder.path().to_string_lossy();
                image.with_mount(Mount::bind_mount(path, recipe.data))
            }
            None => image,
        };
        let files = setup.files.iter();
        let container = files
            .fold(image, |image, (path, text)| {
                image.with_copy_to(path, text.clone().into_bytes())
            })
            .start()
            .await
            .map_err(|error| self.fault("start", error))?;
        // Without a shell the sweep of the next run is left.
        let path = data.as_ref().map(TempDir::path);
        self.reaper = Reaper::new(container.id(), path).ok();
        self.data = data;
        self.container = Some(container);
        self.ready().await
    }

    /// Waits until the server serves.
    ///
    /// # Errors
    /// `Unavailable` after a minute, with the end of the server's log.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ready(&self) -> Result<()> {
        let start = Instant::now();
        while !self.serves().await {
            if start.elapsed() > READY {
                let log = self.logs().await.unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(3).collect();
                let text = format!("it does not serve after {READY:?}; its log ends with {last:?}");
                return Err(
                    Error::unavailable(text).with_operation("start", self.launch.recipe.name)
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn serves(&self) -> bool {
        let recipe = &self.launch.recipe;
        match &self.launch.caller {
            None => recipe.serves(self.port).await,
            Some(caller) => caller
                .ask(self.port, recipe.question)
                .await
                .is_ok_and(|answer| answer.contains(recipe.answer)),
        }
    }

    /// The certificate that it shows, as DER.
    ///
    /// # Errors
    /// `Unavailable` when it shows none, or was not started with [`Launch::with_tls`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn certificate(&self) -> Result<Vec<u8>> {
        let fault = |text: &str| {
            Error::unavailable(text).with_operation("shake hands with", self.launch.recipe.name)
        };
        let caller = self.launch.caller.as_ref();
        let caller: &Caller = caller.ok_or_else(|| fault("it was not started with TLS"))?;
        let shown = caller.certificate(self.port).await;
        shown.map_err(|error| fault("it shows no certificate").with_source(error))
    }

    /// The `host:port` at which this machine reaches it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The container's id, for `docker` itself.
    #[must_use]
    pub fn id(&self) -> &str {
        self.container
            .as_ref()
            .map_or("", |container| container.id())
    }

    /// What its port answers to `question`; nothing within a second is no answer.
    pub(super) async fn ask(&self, question: &str) -> Option<String> {
        self.launch.recipe.ask(self.port, question, None).await
    }

    /// What others call it: its name within its network, else its recipe's.
    fn name(&self) -> &str {
        let place = self.launch.setup.place.as_ref();
        place.map_or(self.launch.recipe.name, |(_, name)| name)
    }

    fn container(&self) -> Result<&ContainerAsync<GenericImage>> {
        self.container.as_ref().ok_or_else(|| {
            Error::unavailable("a wipe took the container away and put no new one in its place")
                .with_operation("reach", self.launch.recipe.name)
        })
    }

    async fn docker(&self) -> Result<Docker> {
        docker_client_instance()
            .await
            .map_err(|error| self.fault("reach docker for", error))
    }

    fn fault(
        &self,
        operation: &'static str,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error::unavailable("docker could not do it")
            .with_operation(operation, self.launch.recipe.name)
            .with_source(error)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(container) = self.container.take()
            && tokio::runtime::Handle::try_current().is_err()
        {
            // Its own drop needs a runtime; the reaper does not.
            std::mem::forget(container);
        }
    }
}

/// A folder for a server's data, where the environment names a place for them.
fn folder(recipe: &Recipe) -> std::io::Result<Option<TempDir>> {
    let Some(place) = std::env::var_os(DATA).filter(|_| !recipe.data.is_empty()) else {
        return Ok(None);
    };
    let folder = tempfile::Builder::new()
        .prefix("waypost-test-")
        .tempdir_in(place)?;
    // The server runs as a user of its own.
    let anybody = Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), anybody)?;
    Ok(Some(folder))
}

/// A port that was free a moment ago, for connections and datagrams: docker would choose another one
/// at each restart. Not one of those that the system gives to whoever dials: while a server is down
/// somebody would get it.
fn free_port() -> std::io::Result<u16> {
    let is_free = |port: u16| {
        let place = (Ipv4Addr::UNSPECIFIED, port);
        TcpListener::bind(place).is_ok() && UdpSocket::bind(place).is_ok()
    };
    let mut drawn = std::iter::repeat_with(|| fastrand::u16(15_000..32_000)).take(100);
    drawn
        .find(|port| is_free(*port))
        .ok_or_else(|| std::io::ErrorKind::AddrInUse.into())
}
