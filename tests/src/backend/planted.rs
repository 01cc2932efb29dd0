//! Records in etcd that nobody tends.

use etcd_client::{Client, PutOptions, Txn, TxnOp};
use waypost_core::Instance;
use waypost_plugin_kit::codec;
use waypost_plugin_kit::layout::Prefix;

use crate::Result;

/// Ttl of what is planted, in seconds: longer than any test.
const TTL: i64 = 600;
/// Most records of one transaction, of the 128 operations that the server takes.
const MOST: usize = 64;
/// Most bytes of one transaction, of the 1.5 MiB that the server takes.
const MOST_BYTES: usize = 1 << 20;

/// Writes `instances` to the etcd at `address` (`host:port`) under one lease, which it returns.
///
/// # Errors
/// The server's.
///
/// # Cancel safety
/// What was written stays for ten minutes.
pub async fn plant(address: &str, namespace: &str, instances: &[Instance]) -> Result<i64> {
    let prefix = Prefix::new(namespace)?;
    let records = instances.iter().map(|instance| {
        let key = prefix.key(&instance.key());
        (key, codec::encode(instance))
    });
    let mut client = Client::connect([address], None).await?;
    plant_raw(&mut client, records).await
}

/// Ends a lease: everything under it goes in one step.
///
/// # Errors
/// The server's.
///
/// # Cancel safety
/// It may or may not have ended.
pub async fn uproot(address: &str, lease: i64) -> Result<()> {
    let mut client = Client::connect([address], None).await?;
    client.lease_revoke(lease).await?;
    Ok(())
}

/// Writes keys and values under one lease, which it returns.
pub(super) async fn plant_raw(
    client: &mut Client,
    records: impl Iterator<Item = (String, Vec<u8>)>,
) -> Result<i64> {
    let lease = client.lease_grant(TTL, None).await?.id();
    let (mut operations, mut bytes) = (Vec::new(), 0);
    for (key, value) in records {
        if operations.len() == MOST || (bytes > 0 && bytes + value.len() > MOST_BYTES) {
            commit(client, std::mem::take(&mut operations)).await?;
            bytes = 0;
        }
        bytes += value.len();
        let options = PutOptions::new().with_lease(lease);
        operations.push(TxnOp::put(key, value, Some(options)));
    }
    commit(client, operations).await?;
    Ok(lease)
}

async fn commit(client: &mut Client, operations: Vec<TxnOp>) -> Result<()> {
    client.txn(Txn::new().and_then(operations)).await?;
    Ok(())
}
