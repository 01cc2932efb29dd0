//! What a balancer goes by: its strategy, filters, weights by version, preferences, ejection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use waypost_core::{Error, Instance, Result};

use crate::strategy::Strategy;

/// A condition that a node must meet.
#[derive(Clone)]
#[non_exhaustive]
pub enum Filter {
    /// The service version is exactly this.
    Version(String),
    /// The node's metadata, or else the service's, has this value under this key.
    Label(String, String),
    /// The service announces an endpoint of exactly this name.
    Endpoint(String),
    /// A condition of your own, with a name for messages.
    Custom(String, Arc<dyn Fn(&Instance) -> bool + Send + Sync>),
}

impl Filter {
    /// Nodes of one version.
    pub fn version(version: impl Into<String>) -> Self {
        Self::Version(version.into())
    }

    /// Nodes with a label.
    pub fn label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Label(key.into(), value.into())
    }

    /// Nodes that announce an endpoint.
    pub fn endpoint(name: impl Into<String>) -> Self {
        Self::Endpoint(name.into())
    }

    /// Nodes of one zone: the label `zone`.
    pub fn zone(zone: impl Into<String>) -> Self {
        Self::label(ZONE, zone)
    }

    /// A condition of your own. `name` appears in [`NoneAvailable`](crate::NoneAvailable).
    pub fn custom(
        name: impl Into<String>,
        condition: impl Fn(&Instance) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::Custom(name.into(), Arc::new(condition))
    }

    pub(crate) fn admits(&self, instance: &Instance) -> bool {
        match self {
            Self::Version(version) => instance.version == *version,
            Self::Label(key, value) => label(instance, key) == Some(value),
            Self::Endpoint(name) => instance.endpoints.iter().any(|one| one.name == *name),
            Self::Custom(_, condition) => condition(instance),
        }
    }
}

/// The label that says in which zone or datacentre a node is.
pub const ZONE: &str = "zone";

fn label<'a>(instance: &'a Instance, key: &str) -> Option<&'a str> {
    let node = instance.node.metadata.get(key);
    node.or_else(|| instance.metadata.get(key))
        .map(String::as_str)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version={}", version.escape_debug()),
            Self::Label(key, value) => {
                write!(f, "{}={}", key.escape_debug(), value.escape_debug())
            }
            Self::Endpoint(name) => write!(f, "endpoint={}", name.escape_debug()),
            Self::Custom(name, _) => f.write_str(name),
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({self})")
    }
}

/// How calls are divided between versions.
///
/// ```
/// use waypost_selector::Canary;
///
/// let canary = Canary::share("2.0", 0.1)?; // 10 % to 2.0, the rest to all others
/// let three = Canary::weights([("1.0", 80.0), ("2.0", 15.0), ("3.0", 5.0)])?;
/// assert!(Canary::share("2.0", f64::NAN).is_err());
/// # let _ = (canary, three);
/// # Ok::<(), waypost_core::Error>(())
/// ```
///
/// A version that has no node just then leaves its share to the others. A call with a
/// [`Key`](crate::Key) goes to the same version as long as the shares stay.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// Versions and weights; those of other versions share `rest`.
    pub(crate) shares: Vec<(String, f64)>,
    pub(crate) rest: f64,
}

impl Canary {
    /// `share` (0 to 1) of the calls go to `version`, the others to the other versions.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when the share is no such number.
    pub fn share(version: impl Into<String>, share: f64) -> Result<Self> {
        let version = version.into();
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::config(format!(
                "the canary share of version `{}` is {share}; 0 to 1 are allowed",
                version.escape_debug()
            )));
        }
        Ok(Self {
            shares: vec![(version, share)],
            rest: 1.0 - share,
        })
    }

    /// Each version by its weight; versions that are not named get no calls.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when a weight is negative or no
    /// number, a version is named twice, or all weights are 0.
    pub fn weights<V: Into<String>>(weights: impl IntoIterator<Item = (V, f64)>) -> Result<Self> {
        let mut shares: Vec<(String, f64)> = Vec::new();
        for (version, weight) in weights {
            let version = version.into();
            let shown = version.escape_debug();
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(Error::config(format!(
                    "the canary weight of version `{shown}` is {weight}; a number from 0 is needed"
                )));
            }
            if shares.iter().any(|(known, _)| *known == version) {
                return Err(Error::config(format!(
                    "the canary weights name version `{shown}` twice"
                )));
            }
            shares.push((version, weight));
        }
        if shares.iter().all(|(_, weight)| *weight == 0.0) {
            return Err(Error::config(
                "the canary weights are all 0; at least one above 0 is needed",
            ));
        }
        Ok(Self { shares, rest: 0.0 })
    }
}

/// Which nodes are taken first. The others are there for when those do not suffice.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Prefer {
    /// Nodes with this label.
    Label {
        /// The label's key; [`ZONE`] for zones.
        key: String,
        /// Its value.
        value: String,
        /// While at least this part of them can be called, they get all calls; below, the others
        /// get what is missing in proportion.
        enough: f64,
    },
    /// Nodes that answer at most this many times slower than the fastest one. A fiftieth of the
    /// calls goes to the others, so that they stay measured.
    Nearest {
        /// The factor, 1 or more.
        within: f64,
    },
}

impl Prefer {
    /// Prefers the nodes of `zone`, until fewer than 7 of 10 of them can be called.
    pub fn zone(zone: impl Into<String>) -> Self {
        Self::Label {
            key: ZONE.to_owned(),
            value: zone.into(),
            enough: 0.7,
        }
    }

    /// Prefers the nodes that answer fastest, and those at most twice slower.
    #[must_use]
    pub fn nearest() -> Self {
        Self::Nearest { within: 2.0 }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Label { key, enough, .. } if !(*enough > 0.0 && *enough <= 1.0) => {
                Err(Error::config(format!(
                    "preferring by label `{}`: enough is {enough}; above 0 and at most 1 is needed",
                    key.escape_debug()
                )))
            }
            Self::Nearest { within } if !(within.is_finite() && *within >= 1.0) => {
                Err(Error::config(format!(
                    "preferring the nearest: within is {within}; 1 or more is needed"
                )))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn has_label(&self, instance: &Instance) -> Option<bool> {
        match self {
            Self::Label { key, value, .. } => Some(label(instance, key) == Some(value)),
            Self::Nearest { .. } => None,
        }
    }
}

/// When a node that fails is left out, for how long, and how it returns (go-micro: blacklist;
/// Envoy: outlier detection).
///
/// A failure is what speaks against the node: no answer in time, a broken connection, 5xx. What the
/// caller did wrong (4xx) never counts. After its time one call is let through; its success brings
/// the node back, its failure puts it out again, for longer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Ejection {
    /// Failures in a row that put a node out; `None` for never. Default 5.
    pub consecutive: Option<u32>,
    /// So many failures within so many results (64 at most) that put it out. Default none.
    pub window: Option<(u32, u32)>,
    /// How long it stays out the first time. Default 30 s; each further time as long again, up to
    /// ten times.
    pub base: Duration,
    /// The most nodes that may be out, as a part of all; one of two or more always may. When more
    /// would be out, the failures are not the nodes': all are called (panic mode). Default 0.5.
    pub most: f64,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive: Some(5),
            window: None,
            base: Duration::from_secs(30),
            most: 0.5,
        }
    }
}

impl Ejection {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No node is ever put out.
    #[must_use]
    pub fn never() -> Self {
        Self {
            consecutive: None,
            ..Self::default()
        }
    }

    /// Sets how many failures in a row put a node out.
    #[must_use]
    pub fn with_consecutive(mut self, failures: u32) -> Self {
        self.consecutive = Some(failures);
        self
    }

    /// Puts a node out after `failures` within its last `results`.
    #[must_use]
    pub fn with_window(mut self, failures: u32, results: u32) -> Self {
        self.window = Some((failures, results));
        self
    }

    /// Sets how long a node stays out the first time.
    #[must_use]
    pub fn with_base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// Sets the most nodes that may be out, as a part of all.
    #[must_use]
    pub fn with_most(mut self, most: f64) -> Self {
        self.most = most;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let fault = |text: String| Err(Error::config(format!("ejection: {text}")));
        if let Some(failures @ (0 | 65..)) = self.consecutive {
            return fault(format!("{failures} failures in a row; 1 to 64 are allowed"));
        }
        if let Some((failures, results)) = self.window
            && !(failures >= 1 && failures <= results && results <= 64)
        {
            return fault(format!(
                "{failures} failures of {results} results; 1 to all of at most 64 are allowed"
            ));
        }
        if self.base.is_zero() || self.base > Duration::from_secs(3600) {
            return fault(format!(
                "a base of {:?}; above 0 and at most an hour is allowed",
                self.base
            ));
        }
        if !(0.0..=1.0).contains(&self.most) {
            return fault(format!(
                "at most {} of the nodes; 0 to 1 are allowed",
                self.most
            ));
        }
        Ok(())
    }

    /// Whether these results put a node out.
    pub(crate) fn hits(&self, results: u64) -> bool {
        let row = self
            .consecutive
            .is_some_and(|failures| results.trailing_ones() >= failures);
        row || self.window.is_some_and(|(failures, of)| {
            let seen = results & (u64::MAX >> (64 - of));
            seen.count_ones() >= failures
        })
    }

    /// The most of `live` nodes that may be out.
    pub(crate) fn allowed(&self, live: usize) -> usize {
        if live < 2 || self.most == 0.0 {
            return 0;
        }
        ((live as f64 * self.most) as usize).max(1)
    }
}

/// What a balancer goes by.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Rules {
    /// How one of several is chosen.
    pub strategy: Strategy,
    /// What every node must meet.
    pub filters: Vec<Filter>,
    /// How calls are divided between versions, if they are.
    pub canary: Option<Canary>,
    /// Which nodes come first, if any do.
    pub prefer: Option<Prefer>,
    /// When a node is left out.
    pub ejection: Ejection,
    /// Whether calls under way and latencies are counted although the strategy needs neither (for
    /// [`Options`](crate::Options) with another strategy, and for what is shown).
    pub count: bool,
}

impl Rules {
    /// The defaults: `p2c_ewma`, no filter, ejection after five failures in a row.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the strategy.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Adds a filter.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Divides calls between versions.
    #[must_use]
    pub fn with_canary(mut self, canary: Canary) -> Self {
        self.canary = Some(canary);
        self
    }

    /// Sets which nodes come first.
    #[must_use]
    pub fn with_prefer(mut self, prefer: Prefer) -> Self {
        self.prefer = Some(prefer);
        self
    }

    /// Sets when a node is left out.
    #[must_use]
    pub fn with_ejection(mut self, ejection: Ejection) -> Self {
        self.ejection = ejection;
        self
    }

    /// Counts calls under way and latencies, whatever the strategy.
    #[must_use]
    pub fn with_counts(mut self) -> Self {
        self.count = true;
        self
    }

    /// Whether they make sense.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) with the rule that makes none.
    pub fn check(&self) -> Result<()> {
        self.ejection.check()?;
        self.prefer.as_ref().map_or(Ok(()), Prefer::check)
    }

    pub(crate) fn counts(&self) -> bool {
        let nearest = matches!(self.prefer, Some(Prefer::Nearest { .. }));
        self.count || self.strategy.counts() || nearest
    }
}
