//! How calls are made, where nothing else is said.

use std::time::Duration;

use waypost_resilience::Retry;
use waypost_selector::Rules;

use crate::connect::Connector;
use crate::pool::Keeping;

/// How a client's calls learn of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lookups {
    /// The registry's watch tells of them; no call waits for the registry. The default.
    #[default]
    Followed,
    /// They are looked up before every call, at the price of a round trip to the registry each.
    /// Where that fails, the call goes by what is known.
    EachCall,
}

/// What all calls of a client have in common.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) rules: Rules,
    pub(crate) lookups: Lookups,
    pub(crate) retry: Retry,
    pub(crate) timeout: Duration,
    pub(crate) connector: Connector,
    pub(crate) keeping: Keeping,
    /// The longest answer that [`Client::call`](crate::Client::call) reads.
    pub(crate) largest: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Rules::new(),
            lookups: Lookups::default(),
            retry: Retry::default(),
            timeout: Duration::from_secs(5),
            connector: Connector {
                limit: Duration::from_millis(250),
                #[cfg(feature = "tls")]
                tls: None,
                largest_head: 64 << 10,
            },
            keeping: Keeping {
                size: 100,
                ttl: Duration::from_secs(60),
            },
            largest: 4 << 20,
        }
    }
}
