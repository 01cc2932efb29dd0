//! Sessions that cannot be reached, and those that the server does not know any more.

use zookeeper_client::Error as Told;

use super::Core;

/// Claims that are looked at before a session is given up.
const SAMPLE: usize = 8;

impl Core {
    /// Whether there is no connection for longer than a server may be silent: whoever needs one
    /// had better not wait, since the client waits longer before each try, up to half of the time
    /// that the session has, and a server that lost its data refuses the session for all of it.
    pub(crate) fn is_cut_off(&self) -> bool {
        let cut = *self.leash.cut();
        !self.is_over() && cut.is_some_and(|since| since.elapsed() > self.config.timeout)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.leash.cut().is_none()
    }

    /// Asks the server by way of `other` whether it still knows this session, and gives the
    /// session up if not: nothing that stood under its claims is there, or is another's.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn give_up_if_unknown(&self, other: &Core) -> Result<(), Told> {
        // One question is enough, however many ask it.
        let Ok(_turn) = self.doubting.try_lock() else {
            return Ok(());
        };
        let claimed = self.claims().some(SAMPLE);
        let client = other.connected().await?;
        // A follower that is behind may not know what is there.
        client.sync("/").await?;
        for path in claimed {
            let found = client.check_stat(&path).await?;
            if found.is_some_and(|stat| self.is_ours(stat.ephemeral_owner)) {
                return Ok(());
            }
        }
        self.give_up();
        Ok(())
    }

    /// The session is over, whatever the client says.
    pub(super) fn give_up(&self) {
        self.given_up.send_replace(true);
        self.claims().clear();
    }
}
