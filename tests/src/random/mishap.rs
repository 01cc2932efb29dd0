//! What can go wrong in a random schedule.

mod words;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Milliseconds: what a schedule counts in.
pub type Millis = u64;

/// The nodes of the house, each with the process that registers it.
pub(super) const NODES: [(usize, &str); 6] = [
    (0, "a1"),
    (0, "a2"),
    (1, "b1"),
    (1, "b2"),
    (2, "c1"),
    (2, "c2"),
];

/// A node of the process at `writer`.
#[must_use]
pub(super) fn node(writer: usize, which: usize) -> &'static str {
    NODES[(2 * writer + which) % NODES.len()].1
}

/// Whose connections a network treats badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Those of the first process.
    Writer,
    /// Those of both directories.
    Directories,
    /// Those of both raw watches.
    Watches,
    /// All of these.
    Everybody,
}

/// How a network treats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Nothing passes and nothing closes.
    Held,
    /// Every connection is reset, new ones too.
    Reset,
    /// Every connection is reset, and nobody listens.
    Refused,
    /// Bytes arrive so many milliseconds late, and vary by a half.
    Late(Millis),
    /// So many bytes pass a second.
    Narrow(u32),
    /// Bytes arrive in slices of this size.
    Sliced(usize),
    /// Each connection closes after so many bytes.
    Cut(u64),
}

/// One thing that goes wrong, with everything that was drawn for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mishap", rename_all = "snake_case")]
pub enum Mishap {
    /// The process at `writer` is killed, and started again after a while.
    Killed {
        /// Which process.
        writer: usize,
        /// How long it is dead.
        lasts: Millis,
    },
    /// The process is killed and at once started again with the same ids.
    Replaced {
        /// Which process.
        writer: usize,
    },
    /// The process is told to end, and started again after a while.
    Terminated {
        /// Which process.
        writer: usize,
        /// How long until it is started again.
        lasts: Millis,
    },
    /// The process stands still.
    Stopped {
        /// Which process.
        writer: usize,
        /// For how long.
        lasts: Millis,
    },
    /// The server is killed, and started with its data after a while.
    ServerKilled {
        /// How long it is dead.
        lasts: Millis,
    },
    /// The server stands still.
    ServerPaused {
        /// For how long.
        lasts: Millis,
    },
    /// An empty server takes the server's place.
    ServerWiped,
    /// A record is deleted by hand.
    Deleted {
        /// The process whose record it is.
        writer: usize,
        /// Which of its two.
        which: usize,
    },
    /// The lease of a record is ended by hand.
    LeaseEnded {
        /// The process whose record it is.
        writer: usize,
        /// Which of its two.
        which: usize,
    },
    /// The network treats somebody badly.
    Network {
        /// Whom.
        whose: Whose,
        /// How.
        trouble: Trouble,
        /// For how long.
        lasts: Millis,
    },
}

/// How many kinds [`Mishap::draw`] chooses from.
const KINDS: usize = 17;
/// Writers in the house.
const WRITERS: usize = 3;

impl Mishap {
    /// Draws one; `ttl` is that of the records.
    pub fn draw(random: &mut Rng, ttl: Millis) -> Self {
        let writer = random.usize(..WRITERS);
        let which = random.usize(..2);
        match random.usize(..KINDS) {
            0 => Self::Killed {
                writer,
                lasts: random.u64(ttl / 10..=2 * ttl),
            },
            1 => Self::Replaced { writer },
            2 => Self::Terminated {
                writer,
                lasts: random.u64(ttl / 10..=ttl / 2),
            },
            3 => Self::Stopped {
                writer,
                lasts: ttl / 2,
            },
            4 => Self::Stopped {
                writer,
                lasts: 3 * ttl,
            },
            5 => Self::ServerKilled {
                lasts: random.u64(ttl / 10..=2 * ttl),
            },
            6 => Self::ServerPaused {
                lasts: random.u64(ttl / 10..=ttl * 2 / 5),
            },
            7 => Self::ServerPaused {
                lasts: random.u64(ttl * 6 / 5..=2 * ttl),
            },
            8 => Self::ServerWiped,
            9 => Self::Deleted { writer, which },
            10 => Self::LeaseEnded { writer, which },
            kind => Self::Network {
                whose: random
                    .choice([
                        Whose::Writer,
                        Whose::Directories,
                        Whose::Watches,
                        Whose::Everybody,
                    ])
                    .unwrap_or(Whose::Everybody),
                trouble: trouble(random, kind),
                lasts: random.u64(ttl / 5..=ttl * 14 / 5),
            },
        }
    }

    /// How long it lasts; nothing for what is done at once.
    #[must_use]
    pub fn lasts(&self) -> Millis {
        match *self {
            Self::Killed { lasts, .. }
            | Self::Terminated { lasts, .. }
            | Self::Stopped { lasts, .. }
            | Self::ServerKilled { lasts }
            | Self::ServerPaused { lasts }
            | Self::Network { lasts, .. } => lasts,
            Self::Replaced { .. }
            | Self::ServerWiped
            | Self::Deleted { .. }
            | Self::LeaseEnded { .. } => 0,
        }
    }

    /// The process that it happens to, if it is one.
    #[must_use]
    pub fn writer(&self) -> Option<usize> {
        match *self {
            Self::Killed { writer, .. }
            | Self::Replaced { writer }
            | Self::Terminated { writer, .. }
            | Self::Stopped { writer, .. }
            | Self::Deleted { writer, .. }
            | Self::LeaseEnded { writer, .. } => Some(writer),
            Self::Network {
                whose: Whose::Writer | Whose::Everybody,
                ..
            } => Some(0),
            _ => None,
        }
    }

    /// Whether the server cannot be reached by anybody, or forgets, while it lasts.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        matches!(
            self,
            Self::ServerKilled { .. } | Self::ServerPaused { .. } | Self::ServerWiped
        )
    }

    /// Whether both can happen at the same time: not to the same process, the same network or the
    /// same server, and nothing by hand at a server that does not answer.
    #[must_use]
    pub fn goes_with(&self, other: &Self) -> bool {
        let by_hand = |one: &Self| matches!(one, Self::Deleted { .. } | Self::LeaseEnded { .. });
        let of_server = |one: &Self| one.is_of_server() || by_hand(one);
        let of_network = |one: &Self| matches!(one, Self::Network { .. });
        let same_writer = self.writer().is_some() && self.writer() == other.writer();
        let same_server = of_server(self) && of_server(other);
        let same_network = of_network(self) && of_network(other);
        !(same_writer || same_server || same_network)
    }
}

/// Every trouble comes about as often as the others.
fn trouble(random: &mut Rng, kind: usize) -> Trouble {
    match kind {
        11 => Trouble::Held,
        12 => Trouble::Reset,
        13 => Trouble::Refused,
        14 => Trouble::Late(random.u64(50..=3000)),
        15 if random.bool() => Trouble::Narrow(random.u32(500..=20_000)),
        15 => Trouble::Sliced(random.usize(1..=16)),
        _ => Trouble::Cut(random.u64(1..=4000)),
    }
}
