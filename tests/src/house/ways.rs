//! The proxies of a house: whose connections can be treated badly.

use std::net::SocketAddr;

use waypost_testkit::proxy::{Direction, Link, Manner, Proxy};

use crate::Result;
use crate::history::History;

/// The ways to the server: one of the first process, one of both directories, one of both watches.
#[derive(Debug)]
pub struct Ways {
    agent: Proxy,
    readers: Proxy,
    watched: Proxy,
    server: SocketAddr,
    history: History,
}

impl Ways {
    pub(super) async fn open(server: SocketAddr, history: &History) -> Result<Self> {
        let upstream = server.to_string();
        Ok(Self {
            agent: Proxy::start(upstream.clone()).await?,
            readers: Proxy::start(upstream.clone()).await?,
            watched: Proxy::start(upstream).await?,
            server,
            history: history.clone(),
        })
    }

    /// The way of the first process.
    #[must_use]
    pub fn agent(&self) -> &Proxy {
        &self.agent
    }

    /// The way that both directories share.
    #[must_use]
    pub fn readers(&self) -> &Proxy {
        &self.readers
    }

    /// The way that both watches share.
    #[must_use]
    pub fn watched(&self) -> &Proxy {
        &self.watched
    }

    /// Treats every connection in this manner.
    pub fn behave(&self, manner: Manner) {
        self.history.note("network", format!("{manner:?}"));
        for way in self.all() {
            way.behave(manner);
        }
    }

    /// Treats the connections of directories and watches in this manner.
    pub fn behave_to_readers(&self, manner: Manner) {
        self.history
            .note("network", format!("{manner:?}, to readers"));
        self.readers.behave(manner);
        self.watched.behave(manner);
    }

    /// Gives every way this link, in both directions.
    pub fn shape(&self, what: &str, link: &Link) {
        self.history.note("network", what);
        for way in self.all() {
            way.shape(Direction::Both, link.clone());
        }
    }

    /// Gives the first process and the directories this link, in both directions.
    pub fn shape_house(&self, what: &str, link: &Link) {
        self.history.note(
            "network",
            format!("{what}, for agent-a and the directories"),
        );
        for way in self.of_house() {
            way.shape(Direction::Both, link.clone());
        }
    }

    /// Cuts the connections of the first process and the directories once.
    pub fn cut_house(&self) {
        self.history
            .note("network", "cut, for agent-a and the directories");
        self.of_house().into_iter().for_each(Proxy::reset);
    }

    /// Cuts every connection once.
    pub fn cut(&self) {
        self.history.note("network", "cut");
        self.all().into_iter().for_each(Proxy::reset);
    }

    /// Leads the first process and the directories to another server.
    pub fn lead_house(&self, what: &str, to: SocketAddr) {
        self.history.note("network", format!("leads to {what}"));
        for way in self.of_house() {
            way.point_to(to.to_string());
            way.reset();
        }
    }

    /// Mends every way; connections stay.
    pub fn mend(&self) {
        self.history.note("network", "mended");
        self.all().into_iter().for_each(Proxy::mend);
    }

    /// Mends every way with fresh connections to the server.
    pub fn renew(&self) {
        self.history.note("network", "mended, with new connections");
        for way in self.all() {
            way.mend();
            way.point_to(self.server.to_string());
            way.reset();
        }
    }

    pub(super) fn agent_at(&self) -> Result<SocketAddr> {
        Ok(self.agent.address().parse()?)
    }

    pub(super) fn readers_at(&self) -> Result<SocketAddr> {
        Ok(self.readers.address().parse()?)
    }

    pub(super) fn watched_at(&self) -> Result<SocketAddr> {
        Ok(self.watched.address().parse()?)
    }

    fn all(&self) -> [&Proxy; 3] {
        [&self.agent, &self.readers, &self.watched]
    }

    fn of_house(&self) -> [&Proxy; 2] {
        [&self.agent, &self.readers]
    }
}
