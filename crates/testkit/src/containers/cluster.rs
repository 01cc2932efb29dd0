//! Three servers that are one registry.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waypost_core::{Error, Result};

use super::ensemble::{Ensemble, MEMBERS};
use super::image::prepare;
use super::netns;
use super::network::Network;
use super::{Launch, Server};
use crate::Missing;

/// How long a cluster may take until it has a leader.
const LED: Duration = Duration::from_secs(30);

/// A cluster of three members on a network of their own, each with a port of this machine that
/// stays the same through every fault.
///
/// What happens to one member is done to its [`Server`]; what happens between them is done here.
/// Dropping it removes the containers and the network.
#[derive(Debug)]
pub struct Cluster {
    ensemble: Ensemble,
    members: [Server; MEMBERS],
    /// Dropped after the members, which are in it.
    _network: Network,
}

impl Cluster {
    /// Starts a cluster of `ensemble` and waits until every member serves.
    ///
    /// # Errors
    /// [`Missing`] when Docker cannot be reached, the image is not there, or the members do not
    /// serve within a minute.
    ///
    /// # Cancel safety
    /// A start that is given up leaves containers that end with the process.
    pub async fn start(ensemble: &Ensemble) -> Result<Self, Missing> {
        Self::start_with(ensemble, &[]).await
    }

    /// As [`Cluster::start`], with more arguments for every member.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    ///
    /// # Cancel safety
    /// As [`Cluster::start`].
    pub async fn start_with(ensemble: &Ensemble, arguments: &[&str]) -> Result<Self, Missing> {
        let recipe = &ensemble.recipe;
        prepare(recipe).await?;
        let mark = fastrand::u32(..);
        let network = Network::create(format!("waypost-{}-{mark:08x}", recipe.name)).await?;
        let names: [String; MEMBERS] =
            std::array::from_fn(|place| format!("{}{}-{mark:08x}", recipe.name, place + 1));
        let member = |place: usize| {
            let mut launch = Launch::new(recipe);
            launch.setup = (ensemble.setup)(&names, place);
            launch.setup.place = Some((network.name().to_owned(), names[place].clone()));
            Server::start_as(launch.with_arguments(arguments.iter().copied()))
        };
        let (first, second, third) = tokio::try_join!(member(0), member(1), member(2))?;
        Ok(Self {
            ensemble: *ensemble,
            members: [first, second, third],
            _network: network,
        })
    }

    /// The members, in an order that stays.
    #[must_use]
    pub fn members(&self) -> &[Server] {
        &self.members
    }

    /// The `host:port` of every member, at which this machine reaches it.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().map(Server::address).collect()
    }

    /// The place of the member that leads; waits for one.
    ///
    /// A member that is frozen or cut off may take itself for the leader for a moment longer.
    ///
    /// # Errors
    /// `Unavailable` when nobody leads within half a minute.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn leader(&self) -> Result<usize> {
        let begun = Instant::now();
        while begun.elapsed() < LED {
            for place in 0..self.members.len() {
                if self.leads(place).await {
                    return Ok(place);
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        Err(self.fault("find", "nobody leads"))
    }

    /// Whether the member at `place` says that it leads, within a second.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn leads(&self, place: usize) -> bool {
        let Some(member) = self.members.get(place) else {
            return false;
        };
        let told = member.ask(self.ensemble.question).await;
        told.is_some_and(|told| told.contains(self.ensemble.answer))
    }

    /// Cuts a member off from the others, without a word to anybody; clients still reach it.
    ///
    /// # Errors
    /// `Unavailable` where packets cannot be dropped: that takes Linux, and root or `sudo`.
    ///
    /// # Cancel safety
    /// It may be cut off, or half so.
    pub async fn isolate(&self, place: usize) -> Result<()> {
        let mut peers = Vec::with_capacity(MEMBERS - 1);
        for (other, member) in self.members.iter().enumerate() {
            if other != place {
                peers.push(member.inner_address().await?);
            }
        }
        netns::cut(self.member(place)?, &peers).await
    }

    /// Loses this share of all packets, between the members and between them and their clients.
    ///
    /// # Errors
    /// As [`Cluster::isolate`].
    ///
    /// # Cancel safety
    /// Some may be lost already.
    pub async fn lose(&self, share: f64) -> Result<()> {
        for member in &self.members {
            netns::lose(member, share).await?;
        }
        Ok(())
    }

    /// Delays what the members send, as the words of `tc netem` say: `delay 200ms 100ms`.
    ///
    /// # Errors
    /// [`Unsupported`](waypost_core::ErrorKind::Unsupported) where the kernel cannot, else as
    /// [`Cluster::isolate`].
    ///
    /// # Cancel safety
    /// Some may be delayed already.
    pub async fn delay(&self, netem: &str) -> Result<()> {
        for member in &self.members {
            netns::delay(member, netem).await?;
        }
        Ok(())
    }

    /// Ends what [`Cluster::isolate`], [`Cluster::lose`] and [`Cluster::delay`] did.
    ///
    /// # Errors
    /// As [`Cluster::isolate`].
    ///
    /// # Cancel safety
    /// Some links may be mended.
    pub async fn mend(&self) -> Result<()> {
        for member in &self.members {
            netns::mend(member).await?;
        }
        Ok(())
    }

    /// How many connections clients have to the member at `place`.
    ///
    /// # Errors
    /// As [`Cluster::isolate`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn connections(&self, place: usize) -> Result<usize> {
        let tables = netns::sockets(self.member(place)?).await?;
        Ok(established(&tables, self.ensemble.recipe.port))
    }

    fn member(&self, place: usize) -> Result<&Server> {
        let member = self.members.get(place);
        member.ok_or_else(|| self.fault("reach", "there is no such member"))
    }

    fn fault(&self, operation: &'static str, message: &str) -> Error {
        Error::unavailable(message).with_operation(operation, self.ensemble.recipe.name)
    }
}

/// The open connections to `port` in the kernel's tables of sockets, those of the server to itself
/// aside.
fn established(tables: &str, port: u16) -> usize {
    let local = format!(":{port:04X}");
    let is_open = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let (ours, theirs, state) = (words.next(), words.next(), words.next());
        let is_own = theirs.is_some_and(|theirs| theirs.contains("0100007F:"));
        ours.is_some_and(|ours| ours.ends_with(&local)) && !is_own && state == Some("01")
    };
    tables.lines().filter(is_open).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_connections_to_the_port_are_counted() {
        let tables = "  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:094B 00000000:0000 0A 00000000:00000000
   1: 020012AC:094B 010012AC:D431 01 00000000:00000000
   2: 020012AC:094C 010012AC:D432 01 00000000:00000000
   3: 020012AC:D433 030012AC:094B 01 00000000:00000000
   4: 0000000000000000FFFF0000020012AC:094B 0000000000000000FFFF0000010012AC:D434 01 00000000
   5: 020012AC:094B 010012AC:D435 06 00000000:00000000
   6: 0100007F:094B 0100007F:D436 01 00000000:00000000
";
        assert_eq!(established(tables, 2379), 2);
    }
}
