//! How one of several nodes is chosen.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use waypost_core::{Error, Instance, Result};
use xxhash_rust::xxh3::xxh3_64;

/// How one of several nodes is chosen.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// Each node with the same chance.
    Random,
    /// One after the other, over the calls of a thread; each thread begins somewhere else.
    RoundRobin,
    /// At random, by the number in the node's metadata under `weight`: 1 where there is none, no
    /// calls for 0. What is no number from 0 to 1 000 000 counts as 1.
    Weighted,
    /// The one with fewer calls under way of two drawn at random.
    LeastConn,
    /// The one with less to expect of two drawn at random: latency as measured (a slower answer
    /// counts at once, faster ones gradually) times calls under way; failures count as slow answers.
    #[default]
    P2cEwma,
    /// The same node for the same [`Key`] while it is there (Maglev); at random without a key.
    ConsistentHash,
    /// Your own. It is called for every pick, outside of all locks.
    Custom(Arc<dyn Choose>),
}

/// The names, as `--selector_strategy` and messages spell them.
const NAMES: [(&str, Strategy); 6] = [
    ("random", Strategy::Random),
    ("round_robin", Strategy::RoundRobin),
    ("weighted", Strategy::Weighted),
    ("least_conn", Strategy::LeastConn),
    ("p2c_ewma", Strategy::P2cEwma),
    ("consistent_hash", Strategy::ConsistentHash),
];

impl Strategy {
    /// A strategy of your own: any [`Choose`], a closure too.
    pub fn custom(choose: impl Choose) -> Self {
        Self::Custom(Arc::new(choose))
    }

    /// The strategy's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
            Self::LeastConn => "least_conn",
            Self::P2cEwma => "p2c_ewma",
            Self::ConsistentHash => "consistent_hash",
            Self::Custom(_) => "custom",
        }
    }

    /// Whether it looks at calls under way and latencies, so that they must be counted.
    pub(crate) fn counts(&self) -> bool {
        matches!(self, Self::LeastConn | Self::P2cEwma | Self::Custom(_))
    }
}

impl fmt::Debug for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = Error;

    /// The strategy of this name; hyphens count as underscores.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) with the name, the nearest right one
    /// and all of them.
    fn from_str(name: &str) -> Result<Self> {
        let plain = name.replace('-', "_");
        if let Some((_, strategy)) = NAMES.iter().find(|(known, _)| *known == plain) {
            return Ok(strategy.clone());
        }
        let all = NAMES.map(|(known, _)| known).join(", ");
        let near = NAMES
            .iter()
            .map(|(known, _)| (strsim::damerau_levenshtein(known, &plain), *known))
            .min()
            .filter(|(distance, _)| *distance <= 3)
            .map(|(_, known)| format!(" (did you mean `{known}`?)"))
            .unwrap_or_default();
        let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        Err(Error::config(format!(
            "there is no selector strategy `{shown}`{near}; there are {all}"
        )))
    }
}

/// What ties calls to nodes: a user, a session, a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(pub(crate) u64);

impl Key {
    /// The key of these bytes; the same in every process and version.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(xxh3_64(bytes.as_ref()))
    }
}

/// A strategy of your own.
///
/// ```
/// use waypost_selector::{Candidate, Choose, Key, Strategy};
///
/// // The node with the lowest id.
/// let first = |nodes: &[Candidate<'_>], _: Option<Key>| {
///     let lowest = nodes.iter().enumerate().min_by_key(|(_, node)| &node.instance.node.id);
///     lowest.map(|(index, _)| index)
/// };
/// let strategy = Strategy::custom(first);
/// # let _ = strategy;
/// ```
pub trait Choose: Send + Sync + 'static {
    /// The index of the chosen one. `nodes` is never empty; `None` (or an index outside) means that
    /// none will do, and the call ends with [`NoneAvailable`](crate::NoneAvailable).
    fn choose(&self, nodes: &[Candidate<'_>], key: Option<Key>) -> Option<usize>;
}

impl<F> Choose for F
where
    F: Fn(&[Candidate<'_>], Option<Key>) -> Option<usize> + Send + Sync + 'static,
{
    fn choose(&self, nodes: &[Candidate<'_>], key: Option<Key>) -> Option<usize> {
        self(nodes, key)
    }
}

/// A node that may be chosen.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// Its record.
    pub instance: &'a Arc<Instance>,
    /// Calls under way to it, as far as this thread knows.
    pub in_flight: u32,
    /// Its latency in microseconds as this thread expects it; 0 when nothing was measured.
    pub latency: f32,
}
