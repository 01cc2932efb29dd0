//! All records of some ranges, at one revision.

use std::sync::Arc;

use etcd_client::proto::{PbKeyValue, PbRangeResponse, PbTxnOpResponse};
use etcd_client::{GetOptions, Txn, TxnOp};
use waypost_core::{Error, ErrorKind, Result};

use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::error::Remedy;
use crate::layout::Range;

/// Records that are asked for at once. The client takes 4 MiB at once, a record is 1 to 2 KiB.
const PAGE: i64 = 1000;

/// Answers of a size after which twice the size is tried again.
const STREAK: u32 = 4;

/// Where a read was made: everything later is told by a watch from the next revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) revision: i64,
    pub(crate) cluster: u64,
}

/// What a read finds.
pub(crate) trait Sink: Send {
    /// A record (without its value, if only keys are read).
    fn found(&mut self, record: PbKeyValue);
    /// A record that is too large to be read at all.
    fn too_large(&mut self, key: &[u8]);
}

/// Reads `ranges` page by page, all at one revision; linearizable.
///
/// # Cancel safety
/// Safe; the sink may have been told a part.
pub(crate) async fn read(
    endpoints: &Endpoints,
    ranges: &[Range],
    keys_only: bool,
    sink: &mut dyn Sink,
) -> Result<At> {
    let mut reader = Reader {
        endpoints,
        keys_only,
        page: PAGE,
        streak: 0,
        at: At::default(),
        sink,
    };
    let starts = reader.first_pages(ranges).await?;
    for (range, start) in ranges.iter().zip(starts) {
        if let Some(start) = start {
            reader.rest(start, range.end.as_deref()).await?;
        }
    }
    Ok(reader.at)
}

struct Reader<'a> {
    endpoints: &'a Endpoints,
    keys_only: bool,
    page: i64,
    /// Answers since the page was made smaller.
    streak: u32,
    at: At,
    sink: &'a mut dyn Sink,
}

impl Reader<'_> {
    /// Reads the first page of every range in one round trip; returns where each goes on.
    async fn first_pages(&mut self, ranges: &[Range]) -> Result<Vec<Option<Vec<u8>>>> {
        let starts = || {
            ranges
                .iter()
                .map(|range| Some(range.start.clone().into_bytes()))
        };
        if ranges.len() < 2 {
            return Ok(starts().collect());
        }
        let get = |range: &Range| {
            let options = self.options(range.end.as_deref());
            TxnOp::get(range.start.as_str(), Some(options))
        };
        let txn = Txn::new().and_then(ranges.iter().map(get).collect::<Vec<_>>());
        let call = |endpoint: Arc<Endpoint>| {
            let txn = txn.clone();
            async move { endpoint.kv().txn(txn).await }
        };
        match self.endpoints.call_noting(call).await {
            Ok(answer) => {
                self.note(answer.0.header.as_ref().map(|h| (h.revision, h.cluster_id)));
                let pages = answer
                    .0
                    .responses
                    .into_iter()
                    .map(|part| match part.response {
                        Some(PbTxnOpResponse::ResponseRange(page)) => Ok(self.take(page)),
                        _ => Err(Error::new(
                            ErrorKind::Corrupt,
                            "a range was answered with something else",
                        )),
                    });
                pages.collect()
            }
            Err(fault) if fault.remedy == Remedy::SmallerPage => {
                self.shrink(4);
                Ok(starts().collect())
            }
            Err(fault) => Err(fault.error),
        }
    }

    /// Reads from `start` to before `end`.
    async fn rest(&mut self, start: Vec<u8>, end: Option<&[u8]>) -> Result<()> {
        let mut next = Some(start);
        while let Some(start) = next {
            let options = self.options(end);
            let call = |endpoint: Arc<Endpoint>| {
                let (start, options) = (start.clone(), options.clone());
                async move { endpoint.kv().get(start, Some(options)).await }
            };
            next = match self.endpoints.call_noting(call).await {
                Ok(page) => {
                    self.grow();
                    self.note(page.0.header.as_ref().map(|h| (h.revision, h.cluster_id)));
                    self.take(page.0)
                }
                Err(fault) if fault.remedy != Remedy::SmallerPage => return Err(fault.error),
                Err(_) if self.page > 1 => {
                    self.shrink(2);
                    Some(start)
                }
                Err(_) => self.step_over(start, end).await?,
            };
        }
        Ok(())
    }

    fn shrink(&mut self, by: i64) {
        self.page = (self.page / by).max(1);
        self.streak = 0;
    }

    /// Large records are rare or everywhere: trying twice the size each time would fail each time.
    fn grow(&mut self) {
        self.streak += 1;
        if self.streak == STREAK {
            self.page = (self.page * 2).min(PAGE);
            self.streak = 0;
        }
    }

    /// Passes over one record that is larger than the client takes; returns where to go on.
    async fn step_over(&mut self, start: Vec<u8>, end: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let options = self.options(end).with_limit(1).with_keys_only();
        let call = |endpoint: Arc<Endpoint>| {
            let (start, options) = (start.clone(), options.clone());
            async move { endpoint.kv().get(start, Some(options)).await }
        };
        let page = self.endpoints.call(call).await?.0;
        self.note(page.header.as_ref().map(|h| (h.revision, h.cluster_id)));
        let next = page
            .more
            .then(|| page.kvs.last().map(|last| after(&last.key)));
        for record in page.kvs {
            self.sink.too_large(&record.key);
        }
        Ok(next.flatten())
    }

    /// Hands a page to the sink; returns where the next one begins.
    fn take(&mut self, page: PbRangeResponse) -> Option<Vec<u8>> {
        let next = page
            .more
            .then(|| page.kvs.last().map(|last| after(&last.key)));
        for record in page.kvs {
            self.sink.found(record);
        }
        next.flatten()
    }

    fn options(&self, end: Option<&[u8]>) -> GetOptions {
        let mut options = GetOptions::new()
            .with_limit(self.page)
            .with_revision(self.at.revision);
        if let Some(end) = end {
            options = options.with_range(end);
        }
        if self.keys_only {
            options.with_keys_only()
        } else {
            options
        }
    }

    /// The first answer decides on the revision of all.
    fn note(&mut self, header: Option<(i64, u64)>) {
        if let (0, Some((revision, cluster))) = (self.at.revision, header) {
            self.at = At { revision, cluster };
        }
    }
}

/// The first key after `key`.
fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}
