//! Notices that a record of ours was removed or taken over.

use std::sync::Arc;

use crate::claims::Token;
use crate::error;
use crate::session::Core;

/// Watches the znode of a claim and ends the claim when the znode is gone or somebody else's.
///
/// Watches of this kind tell once and are set anew; the client takes them along to another server
/// and is told there what happened meanwhile.
pub(crate) async fn watch_over(core: Arc<Core>, path: Arc<str>, token: Token) {
    loop {
        if core.connected().await.is_err() {
            // The session ended, and with it all its claims.
            return;
        }
        match core.alarms().stat(&path).await {
            Ok((Some(stat), alarm)) if core.is_ours(stat.ephemeral_owner) => {
                alarm.await;
            }
            Ok(_) => {
                core.claims().release(&path, token);
                return;
            }
            Err(told) if error::loses_connection(&told) => {}
            // The next renewal will tell.
            Err(_) => return,
        }
    }
}
