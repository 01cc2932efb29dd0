//! One server in one container.

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tempfile::TempDir;
use testcontainers::bollard::Docker;
use testcontainers::bollard::exec::StartExecOptions;
use testcontainers::bollard::models::{
    ContainerInspectResponse, ExecConfig, NetworkConnectRequest, NetworkDisconnectRequest,
};
use testcontainers::bollard::query_parameters::KillContainerOptionsBuilder;
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::{CmdWaitFor, ExecCommand, IntoContainerPort, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use waypost_core::{Error, Result};

use super::caller::Caller;
use super::reaper::Reaper;
use super::sweep::{LABEL, MACHINE, machine, sweep};
use super::{Launch, Recipe};
use crate::Missing;

/// How long a server may take until it serves.
const READY: Duration = Duration::from_secs(60);
/// Names the variable with a folder of this machine for servers' data, in memory say; else they are
/// in the containers. A slow disk that others write to as well makes servers stand still for seconds.
const DATA: &str = "WAYPOST_TEST_DATA";
/// The network that containers are in unless they ask for another one.
const NETWORK: &str = "bridge";

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

/// What a command in a container said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// Its exit code, if it ended by itself.
    pub code: Option<i64>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
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

    /// Puts a file into the running container, in the place of one that was there. The server's
    /// user must own the folder.
    ///
    /// # Errors
    /// Docker's; `Unavailable` when the file cannot be written.
    ///
    /// # Cancel safety
    /// The file is the old one or the new one.
    pub async fn put(&self, path: &str, text: &str) -> Result<()> {
        let fault = |error| self.fault("put a file into", error);
        let docker = self.docker().await?;
        let script = r#"printf %s "$1" >"$0.new" && mv -f "$0.new" "$0""#;
        let command = ["sh", "-c", script, path, text].map(str::to_owned);
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            ..ExecConfig::default()
        };
        let command = docker.create_exec(self.id(), config).await.map_err(fault)?;
        let detached = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        let started = docker.start_exec(&command.id, Some(detached)).await;
        started.map_err(fault)?;
        loop {
            let state = docker.inspect_exec(&command.id).await.map_err(fault)?;
            match (state.running, state.exit_code) {
                (Some(false), Some(0)) => return Ok(()),
                (Some(false), Some(code)) => {
                    let text = format!("{path} cannot be written; the shell ended with {code}");
                    return Err(Error::unavailable(text));
                }
                _ => sleep(Duration::from_millis(20)).await,
            }
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

    /// Freezes it: connections stay, nothing passes.
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be frozen then.
    pub async fn pause(&self) -> Result<()> {
        let done = self.container()?.pause().await;
        done.map_err(|error| self.fault("pause", error))
    }

    /// Lets it go on after [`Server::pause`].
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not go on then.
    pub async fn unpause(&self) -> Result<()> {
        let done = self.container()?.unpause().await;
        done.map_err(|error| self.fault("unpause", error))
    }

    /// Kills it with SIGKILL. Its data stays for [`Server::revive`].
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be dead then.
    pub async fn kill(&self) -> Result<()> {
        let signal = KillContainerOptionsBuilder::default()
            .signal("SIGKILL")
            .build();
        let done = self
            .docker()
            .await?
            .kill_container(self.id(), Some(signal))
            .await;
        done.map_err(|error| self.fault("kill", error))
    }

    /// Stops it in order, as an operator would.
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be stopped then.
    pub async fn stop(&self) -> Result<()> {
        let done = self.container()?.stop_with_timeout(Some(10)).await;
        done.map_err(|error| self.fault("stop", error))
    }

    /// Starts it again after [`Server::stop`] or [`Server::kill`], with its data and on its port,
    /// and waits until it serves.
    ///
    /// # Errors
    /// Docker's, or as [`Server::ready`].
    ///
    /// # Cancel safety
    /// It may or may not run then.
    pub async fn revive(&self) -> Result<()> {
        let done = self.container()?.start().await;
        done.map_err(|error| self.fault("revive", error))?;
        self.ready().await
    }

    /// Replaces it by a new one without any data, on the same port.
    ///
    /// # Errors
    /// Docker's, or as [`Server::ready`].
    ///
    /// # Cancel safety
    /// There may be no server then; wipe again.
    pub async fn wipe(&mut self) -> Result<()> {
        if let Some(container) = self.container.take() {
            let removed = container.rm().await;
            removed.map_err(|error| self.fault("wipe", error))?;
        }
        self.reaper = None;
        self.create().await
    }

    /// Runs a command in the container and waits for its end.
    ///
    /// # Errors
    /// Docker's. A command that fails is not one; see [`Output::code`].
    ///
    /// # Cancel safety
    /// The command goes on.
    pub async fn exec(&self, command: &[&str]) -> Result<Output> {
        let fault = |error| self.fault("exec", error);
        let command =
            ExecCommand::new(command.iter().copied()).with_cmd_ready_condition(CmdWaitFor::exit());
        let mut result = self.container()?.exec(command).await.map_err(fault)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output {
            stdout: text(result.stdout_to_vec().await.map_err(fault)?),
            stderr: text(result.stderr_to_vec().await.map_err(fault)?),
            code: result.exit_code().await.map_err(fault)?,
        })
    }

    /// What it has logged so far, standard output before standard error.
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn logs(&self) -> Result<String> {
        let fault = |error| self.fault("logs", error);
        let mut all = self.container()?.stdout_to_vec().await.map_err(fault)?;
        all.extend(self.container()?.stderr_to_vec().await.map_err(fault)?);
        Ok(String::from_utf8_lossy(&all).into_owned())
    }

    /// Takes it out of its network, its port included: connections are reset, new ones refused.
    /// For a link that swallows everything use [`Server::pause`].
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be disconnected then.
    pub async fn disconnect(&self) -> Result<()> {
        let request = NetworkDisconnectRequest {
            container: self.id().to_owned(),
            force: Some(true),
        };
        let done = self
            .docker()
            .await?
            .disconnect_network(NETWORK, request)
            .await;
        done.map_err(|error| self.fault("disconnect", error))
    }

    /// Puts it back after [`Server::disconnect`].
    ///
    /// # Errors
    /// Docker's.
    ///
    /// # Cancel safety
    /// It may or may not be connected then.
    pub async fn connect(&self) -> Result<()> {
        let request = NetworkConnectRequest {
            container: self.id().to_owned(),
            endpoint_config: None,
        };
        let done = self.docker().await?.connect_network(NETWORK, request).await;
        done.map_err(|error| self.fault("connect", error))
    }

    /// Its process on this machine, whose namespaces are the container's.
    pub(super) async fn process(&self) -> Result<i64> {
        let state = self.inspect().await?.state;
        state
            .and_then(|state| state.pid)
            .filter(|&process| process != 0)
            .ok_or_else(|| {
                Error::unavailable("it does not run").with_operation("find", self.name())
            })
    }

    /// Its address within its network.
    pub(super) async fn inner_address(&self) -> Result<String> {
        let settings = self.inspect().await?.network_settings;
        let networks = settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        networks
            .into_values()
            .filter_map(|network| network.ip_address)
            .find(|address| !address.is_empty())
            .ok_or_else(|| {
                Error::unavailable("it has no address").with_operation("find", self.name())
            })
    }

    async fn inspect(&self) -> Result<ContainerInspectResponse> {
        let docker = self.docker().await?;
        let inspected = docker.inspect_container(self.id(), None).await;
        inspected.map_err(|error| self.fault("inspect", error))
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

/// Makes sure that the image is here, and once removes what earlier runs left behind.
///
/// # Errors
/// [`Missing`] with the reason and the remedy.
pub(super) async fn prepare(recipe: &Recipe) -> Result<(), Missing> {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    image_is_here(recipe).await?;
    SWEPT.get_or_init(sweep).await;
    Ok(())
}

async fn image_is_here(recipe: &Recipe) -> Result<(), Missing> {
    let unreachable = |error: &dyn std::fmt::Display| {
        Missing::new(format!(
            "docker cannot be reached; start it or set DOCKER_HOST: {error}"
        ))
    };
    let docker = docker_client_instance()
        .await
        .map_err(|error| unreachable(&error))?;
    docker.ping().await.map_err(|error| unreachable(&error))?;
    let (name, image) = (recipe.name, recipe.image());
    docker.inspect_image(&image).await.map(|_| ()).map_err(|_| {
        Missing::new(format!(
            "image {image} is not on this machine; build it with `docker/images.sh {name}`"
        ))
    })
}

/// Splits `name:tag`; the colon of a registry's port is none of it.
fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// A port that was free a moment ago. Docker would choose another one at each restart.
/// A port that nobody has, for connections and datagrams. Not one of those that the system gives to
/// whoever dials: while a server is down somebody would get it.
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
