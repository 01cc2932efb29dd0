//! Writing one znode, whoever else writes it.
//!
//! Re-creating a znode sets its version back to 0, so that a version alone does not tell our znode
//! from a successor's: between reading "it is ours, version 0" and removing version 0 somebody may
//! have replaced it. The server can check versions only, not owners. Hence the service's znode
//! above is a fence: whoever removes or replaces a znode that is not its own writes the fence in
//! the same transaction (its content unchanged, its version one up), and whoever touches its own
//! does so in a transaction that checks the fence's version as it was before the owner was read.
//! What happens in between then fails the transaction instead of the successor.
//!
//! Foreign tools write no fence: a znode that one of them removes and another process creates anew
//! between our two requests, less than a millisecond apart, would be taken for ours.

use zookeeper_client::{Client, CreateMode, Error as Told, Stat};

use crate::error::is_race;
use crate::session::Core;

/// How often an operation is begun again because others changed the znode meanwhile.
const TRIES: usize = 16;

/// A record's znode. Operations must have the path's turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Znode<'a> {
    core: &'a Core,
    path: &'a str,
    /// The znode above: the service's, and the fence.
    above: &'a str,
}

/// Whose a znode is, after the fence's version was read.
struct Fenced {
    fence: i32,
    stat: Stat,
    data: Vec<u8>,
}

/// What became of an attempt to change our own znode.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owned {
    /// It is as it should be.
    Done,
    /// It is gone, or not ours.
    Lost,
}

impl<'a> Znode<'a> {
    pub(crate) fn new(core: &'a Core, path: &'a str) -> Self {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        Self { core, path, above }
    }

    /// Makes the znode ours, with this content, whoever has it now. There is no moment without it.
    pub(crate) async fn own(self, data: &[u8]) -> Result<(), Told> {
        let mut result = Err(Told::RuntimeInconsistent);
        for _ in 0..TRIES {
            result = match self.create(data).await {
                Err(Told::NodeExists) => self.own_existing(data).await,
                result => result,
            };
            match &result {
                Err(told) if is_race(told) => {}
                _ => break,
            }
        }
        result
    }

    async fn create(self, data: &[u8]) -> Result<(), Told> {
        let client = self.core.connected().await?;
        let acls = self.core.config().acls();
        let ephemeral = CreateMode::Ephemeral.with_acls(acls);
        match client.create(self.path, data, &ephemeral).await {
            Ok(_) => Ok(()),
            Err(Told::NoNode) => {
                let persistent = CreateMode::Persistent.with_acls(acls);
                client.mkdir(self.above, &persistent).await?;
                client.create(self.path, data, &ephemeral).await.map(drop)
            }
            Err(told) => Err(told),
        }
    }

    async fn own_existing(self, data: &[u8]) -> Result<(), Told> {
        let client = self.core.connected().await?;
        // Sent at once and in this order: the futures send when they are made.
        let above = client.get_data(self.above);
        let found = client.get_data(self.path);
        let ((above, fence), (old, stat)) = (above.await?, found.await?);
        if !self.core.is_ours(stat.ephemeral_owner) {
            return self.replace(client, &above, &stat, data).await;
        }
        if old == data {
            return Ok(());
        }
        let mut writer = client.new_multi_writer();
        writer.add_check_version(self.above, fence.version)?;
        writer.add_set_data(self.path, data, Some(stat.version))?;
        writer.commit().await?;
        Ok(())
    }

    async fn replace(
        self,
        client: &Client,
        above: &[u8],
        found: &Stat,
        data: &[u8],
    ) -> Result<(), Told> {
        let ephemeral = CreateMode::Ephemeral.with_acls(self.core.config().acls());
        let mut writer = client.new_multi_writer();
        writer.add_set_data(self.above, above, None)?;
        writer.add_delete(self.path, Some(found.version))?;
        if self.core.config().is_ancient() {
            // The next best: two requests without waiting in between.
            let removed = writer.commit();
            let created = client.create(self.path, data, &ephemeral);
            let (removed, created) = (removed.await, created.await);
            removed?;
            return created.map(drop);
        }
        writer.add_create(self.path, data, &ephemeral)?;
        writer.commit().await?;
        Ok(())
    }

    /// Gives our znode new content; the same content is not written.
    pub(crate) async fn update_ours(self, data: &[u8]) -> Result<Owned, Told> {
        self.change_ours(|writer, found| {
            if found.data == data {
                return Ok(false);
            }
            writer.add_set_data(self.path, data, Some(found.stat.version))?;
            Ok(true)
        })
        .await
    }

    /// Removes our znode, and never anybody else's.
    pub(crate) async fn remove_ours(self) -> Result<Owned, Told> {
        self.change_ours(|writer, found| {
            writer.add_delete(self.path, Some(found.stat.version))?;
            Ok(true)
        })
        .await
    }

    async fn change_ours(
        self,
        change: impl Fn(&mut zookeeper_client::MultiWriter<'_>, &Fenced) -> Result<bool, Told>,
    ) -> Result<Owned, Told> {
        for _ in 0..TRIES {
            let client = self.core.connected().await?;
            let found = match self.fenced(client).await {
                Ok(found) if self.core.is_ours(found.stat.ephemeral_owner) => found,
                Ok(_) | Err(Told::NoNode) => return Ok(Owned::Lost),
                Err(told) => return Err(told),
            };
            let committed = {
                let mut writer = client.new_multi_writer();
                writer.add_check_version(self.above, found.fence)?;
                if !change(&mut writer, &found)? {
                    return Ok(Owned::Done);
                }
                writer.commit()
            };
            match committed.await.map_err(Told::from) {
                Ok(_) => return Ok(Owned::Done),
                Err(told) if is_race(&told) => {}
                Err(told) => return Err(told),
            }
        }
        Err(Told::RuntimeInconsistent)
    }

    /// The fence's version first, then the znode: sent at once, answered in this order.
    async fn fenced(self, client: &Client) -> Result<Fenced, Told> {
        let above = client.check_stat(self.above);
        let found = client.get_data(self.path);
        let (above, found) = (above.await, found.await);
        let fence = above?.ok_or(Told::NoNode)?.version;
        let (data, stat) = found?;
        Ok(Fenced { fence, stat, data })
    }

    /// Removes the znode, whoever has it. One that is not there is fine.
    pub(crate) async fn remove_anyones(self) -> Result<(), Told> {
        for _ in 0..TRIES {
            let client = self.core.connected().await?;
            let above = client.get_data(self.above);
            let found = client.check_stat(self.path);
            let (above, found) = (above.await, found.await);
            let (above, found) = match (above, found?) {
                (Err(Told::NoNode), _) | (_, None) => return Ok(()),
                (above, Some(found)) => (above?.0, found),
            };
            let committed = {
                let mut writer = client.new_multi_writer();
                writer.add_set_data(self.above, &above, None)?;
                writer.add_delete(self.path, Some(found.version))?;
                writer.commit()
            };
            match committed.await.map_err(Told::from) {
                Ok(_) => return Ok(()),
                Err(told) if is_race(&told) => {}
                Err(told) => return Err(told),
            }
        }
        Err(Told::RuntimeInconsistent)
    }
}
