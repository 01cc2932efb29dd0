//! A small listener that tells people and tools what goes on in this process.

mod page;
mod serve;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use waypost_core::{Error, Result};

use crate::board::Board;
use crate::counters::Counters;
use crate::listen::{self, Listener};

pub use self::page::{Page, Query};

type PageOf = Arc<dyn Fn(Query) -> BoxFuture<'static, Page> + Send + Sync>;
type SectionOf = Arc<dyn Fn(Query) -> BoxFuture<'static, Value> + Send + Sync>;

/// The paths whose pages are made of sections, one from each part of a program.
pub(crate) const SECTIONED: [&str; 2] = ["/stats", "/explain"];

/// The pages of a process: `/metrics`, `/stats`, `/explain`, `/livez`, `/readyz`, and more.
///
/// Any process can have one, with a service or without. Clones share their pages, so that every
/// part of a program adds its own, at any time:
///
/// ```
/// use waypost_server::{Admin, Page};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> waypost_core::Result<()> {
/// let admin = Admin::new();
/// admin.page("/version", |_| async { Page::text("1.2.0\n") })?;
/// admin.section("/stats", "cache", |_| async { [("hits", 7)] })?;
/// let listener = admin.listen("127.0.0.1:0").await?;
/// println!("see http://{}/", listener.address());
/// # Ok(())
/// # }
/// ```
///
/// The pages name addresses, services and faults, and nobody is asked who they are. So a service's
/// own listener is on loopback unless the program says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Admin {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    pages: BTreeMap<String, PageOf>,
    /// By path and key.
    sections: BTreeMap<(String, String), SectionOf>,
    services: Vec<Subject>,
    address: Option<SocketAddr>,
}

/// A service whose state the pages show.
#[derive(Debug, Clone)]
struct Subject {
    board: Board,
    counters: Arc<Counters>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.lock().pages.keys()).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admin {
    /// No page but those of the house.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a page. One of the same path is replaced, also one of the house.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) for a path that is none.
    pub fn page<F, Fut>(&self, path: &str, page: F) -> Result<()>
    where
        F: Fn(Query) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Page> + Send + 'static,
    {
        let path = checked(path)?;
        let page: PageOf = Arc::new(move |query| Box::pin(page(query)));
        self.shared.lock().pages.insert(path, page);
        Ok(())
    }

    /// Adds what one part of the program has to say to `/stats` or `/explain`, under a key of its
    /// own. One of the same key is replaced.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) for a page that has no sections.
    pub fn section<F, Fut>(&self, path: &str, key: &str, section: F) -> Result<()>
    where
        F: Fn(Query) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Serialize,
    {
        if !SECTIONED.contains(&path) {
            return Err(Error::config(format!(
                "admin page {path:?} has no sections; {} have",
                SECTIONED.join(" and ")
            )));
        }
        let section: SectionOf = Arc::new(move |query| {
            let told = section(query);
            Box::pin(async move {
                let value = serde_json::to_value(told.await);
                value.unwrap_or_else(|error| Value::String(error.to_string()))
            })
        });
        let key = (path.to_owned(), key.to_owned());
        self.shared.lock().sections.insert(key, section);
        Ok(())
    }

    /// Begins to answer on `address` (`host:port`; port 0 takes a free one) until the listener is
    /// dropped. An address that other machines reach shows them everything.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when `address` is none or taken.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn listen(&self, address: &str) -> Result<AdminListener> {
        let named = |error: Error| error.with_operation("admin", address);
        listen::check(address).map_err(named)?;
        let (listener, address) = listen::bind(address).await.map_err(named)?;
        self.shared.lock().address = Some(address);
        Ok(AdminListener {
            address,
            admin: self.clone(),
            _listener: Listener::serve(listener, serve::front(self.clone())),
        })
    }

    /// Where it answers, once it does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.lock().address
    }

    /// Shows a service's state until the returned value is dropped.
    pub(crate) fn show(&self, board: Board, counters: Arc<Counters>) -> Shown {
        self.shared.lock().services.push(Subject {
            board,
            counters: Arc::clone(&counters),
        });
        Shown {
            admin: self.clone(),
            counters,
        }
    }
}

/// A running admin listener. Dropping it ends it.
#[derive(Debug)]
pub struct AdminListener {
    address: SocketAddr,
    admin: Admin,
    _listener: Listener,
}

impl AdminListener {
    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        let mut contents = self.admin.shared.lock();
        if contents.address == Some(self.address) {
            contents.address = None;
        }
    }
}

/// A service that the pages show. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Shown {
    admin: Admin,
    counters: Arc<Counters>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut contents = self.admin.shared.lock();
        let ours = |subject: &Subject| Arc::ptr_eq(&subject.counters, &self.counters);
        contents.services.retain(|subject| !ours(subject));
    }
}

fn checked(path: &str) -> Result<String> {
    let odd = |c: char| !c.is_ascii_graphic() || matches!(c, '?' | '#');
    if !path.starts_with('/') || path.len() > 128 || path.contains(odd) {
        return Err(Error::config(format!(
            "admin page {path:?} is no path; it begins with `/` and is visible ASCII without `?`"
        )));
    }
    Ok(path.to_owned())
}
