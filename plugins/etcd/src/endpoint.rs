//! One endpoint: its client, its login, and whether it can be reached.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use etcd_client::{Client, KvClient, LeaseClient, WatchClient};
use tokio::sync::watch;
use waypost_core::{Error, ErrorKind, Result, Secret};
use waypost_plugin_kit::tls;

use crate::config::Config;
use crate::error::{self, Fault, Reach, Remedy};
use crate::turn::Turn;

/// One address of the target, with a connection of its own that is made when first needed and
/// made anew whenever it broke.
pub(crate) struct Endpoint {
    address: String,
    client: Client,
    login: Option<Login>,
    /// Whether we show a certificate; nothing where TLS is not spoken.
    shows: Option<bool>,
    /// Whether it ever answered: what closes connections then has no quarrel with our certificate.
    answered: AtomicBool,
    /// Told to all whose try waits when a connection could not be made: tries queue up behind the
    /// one that connects, and each would wait for its own connect timeout.
    unreachable: watch::Sender<Option<Fault>>,
}

/// Who we are, and which token we have.
struct Login {
    name: String,
    password: Secret,
    /// How many times we logged in; a try remembers it, so that of many whose token expired at
    /// once only one logs in again (the server spends a tenth of a second on each login).
    count: AtomicU64,
    turn: Turn,
}

impl Endpoint {
    /// Makes the client; nothing is connected.
    pub(crate) async fn new(address: &str, config: &Config) -> Result<Self> {
        let options = config.connect_options();
        // Without a user in its options the client does no I/O here.
        let client = Client::connect([config.url(address)], Some(options))
            .await
            .map_err(|told| setup_error(&error::fault(address, &told)))?;
        let login = config.user.clone().map(|(name, password)| Login {
            name,
            password,
            count: AtomicU64::new(0),
            turn: Turn::default(),
        });
        Ok(Self {
            address: address.to_owned(),
            client,
            login,
            shows: config.tls.as_ref().map(|tls| tls.identity.is_some()),
            answered: AtomicBool::new(false),
            unreachable: watch::Sender::new(None),
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn kv(&self) -> KvClient {
        self.client.kv_client()
    }

    pub(crate) fn lease(&self) -> LeaseClient {
        self.client.lease_client()
    }

    pub(crate) fn watch(&self) -> WatchClient {
        self.client.watch_client()
    }

    /// Makes one try, logging in before where that is needed, and once more where the token turns
    /// out to be old.
    pub(crate) async fn attempt<T, F, W>(&self, work: F) -> Result<T, Fault>
    where
        F: Fn() -> W,
        W: Future<Output = Result<T, etcd_client::Error>>,
    {
        let Some(login) = &self.login else {
            return self.fresh(work).await;
        };
        let mut count = login.count.load(Ordering::Acquire);
        if count == 0 {
            count = self.log_in(login, 0).await?;
        }
        match self.fresh(&work).await {
            Err(fault) if fault.remedy == Remedy::Login => {
                self.log_in(login, count).await?;
                self.fresh(work).await
            }
            result => result,
        }
    }

    /// Makes a try whose failure to connect is its own. The client hands a failed connection to the
    /// next call, however long ago it failed; asking again makes a new one.
    async fn fresh<T, F, W>(&self, work: F) -> Result<T, Fault>
    where
        F: Fn() -> W,
        W: Future<Output = Result<T, etcd_client::Error>>,
    {
        match self.once(work()).await {
            Err(fault) if fault.reach == Reach::Refused => self.once(work()).await,
            result => result,
        }
    }

    async fn once<T>(
        &self,
        work: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Fault> {
        let mut news = self.unreachable.subscribe();
        let told = tokio::select! {
            biased;
            result = work => match result {
                Ok(value) => {
                    self.answered.store(true, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(told) => told,
            },
            fault = heard(&mut news) => return Err(fault),
        };
        let mut fault = error::fault(&self.address, &told);
        if let Some(shows) = self.shows
            && fault.closed
            && !self.answered.load(Ordering::Relaxed)
        {
            let text = format!("{}: {}", self.address, tls::closed(shows));
            fault.error = Error::new(fault.error.kind(), text);
        }
        if fault.reach != Reach::Connected {
            self.unreachable.send_replace(Some(fault.clone()));
        }
        Err(fault)
    }

    /// Gets a token newer than the one of login number `stale`.
    async fn log_in(&self, login: &Login, stale: u64) -> Result<u64, Fault> {
        let newer = || Some(login.count.load(Ordering::Acquire)).filter(|count| *count > stale);
        let work = async {
            let update = || {
                let user = (login.name.clone(), login.password.expose().to_owned());
                let mut client = self.client.clone();
                async move { client.update_user(Some(user)).await }
            };
            match self.fresh(update).await {
                Ok(()) => {}
                // A server without authentication has no use for a user, and takes us without.
                Err(fault) if fault.error.to_string().contains("not enabled") => {}
                Err(fault) if fault.error.kind() == ErrorKind::Denied => {
                    let text = format!("{} (user {:?})", fault.error, login.name);
                    return Err(Error::new(ErrorKind::Denied, text));
                }
                Err(fault) => return Err(fault.error),
            }
            Ok(login.count.fetch_add(1, Ordering::AcqRel) + 1)
        };
        login.turn.take(newer, work).await.map_err(|error| Fault {
            remedy: match error.kind() {
                ErrorKind::Unavailable | ErrorKind::Timeout => Remedy::Elsewhere,
                _ => Remedy::None,
            },
            error,
            reach: Reach::Connected,
            closed: false,
        })
    }
}

async fn heard(news: &mut watch::Receiver<Option<Fault>>) -> Fault {
    loop {
        if news.changed().await.is_err() {
            // The sender lives as long as the endpoint, which outlives its tries.
            std::future::pending::<()>().await;
        }
        if let Some(fault) = news.borrow_and_update().clone() {
            return fault;
        }
    }
}

/// What goes wrong before anything is connected lies in the configuration.
fn setup_error(fault: &Fault) -> Error {
    Error::config(fault.error.to_string())
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .field("user", &self.login.as_ref().map(|login| &login.name))
            .finish_non_exhaustive()
    }
}
