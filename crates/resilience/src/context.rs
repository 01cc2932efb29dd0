//! What an incoming call hands down to the calls made on its behalf.

mod metadata;
mod scope;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

pub use metadata::{Forward, InvalidMetadata, Metadata, MetadataRule};
pub use scope::Scoped;
pub(crate) use scope::in_scope;

use crate::Deadline;

/// The number of a try, 1 for the first; absent is 1.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-attempt");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What an incoming call hands down to the calls made on its behalf: its deadline, the number of
/// the try, its W3C trace and, if asked for, metadata. Cloning it allocates nothing.
///
/// It belongs to the task: inside [`scope`](Self::scope) every call finds it by
/// [`current`](Self::current). A task that is spawned there starts without it, and carries it so:
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use waypost_resilience::{Context, Deadline};
///
/// let deadline = Deadline::after(Duration::from_secs(1));
/// let context = Context::default().with_deadline(deadline);
/// context.scope(async {
///     let lost = tokio::spawn(async { Context::current().deadline() });
///     assert_eq!(lost.await.unwrap(), None);
///     let carried = Context::current().scope(async { Context::current().deadline() });
///     assert_eq!(tokio::spawn(carried).await.unwrap(), Context::current().deadline());
/// }).await;
/// # });
/// ```
#[derive(Debug, Clone, Default)]
pub struct Context {
    deadline: Option<Deadline>,
    /// One less than the number of the try, so that nothing is the first.
    repeats: u32,
    trace: Option<Arc<Trace>>,
    metadata: Option<Arc<Metadata>>,
}

#[derive(Debug)]
struct Trace {
    parent: HeaderValue,
    state: Vec<HeaderValue>,
}

impl Context {
    /// Reads what came with a request. A bad timeout is [ignored](Deadline::accept), a bad number
    /// is 1, and a `traceparent` that stands there twice starts no trace. No metadata is taken.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            deadline: Deadline::accept(headers),
            repeats: attempt(headers).saturating_sub(1),
            trace: trace(headers).map(Arc::new),
            metadata: None,
        }
    }

    /// What the task works on behalf of; an empty one outside of any [`scope`](Self::scope).
    #[must_use]
    pub fn current() -> Self {
        Self::with(Self::clone)
    }

    /// Looks at the current one.
    pub fn with<T>(look: impl FnOnce(&Self) -> T) -> T {
        scope::with(look)
    }

    /// Runs `work`, and drops it, on behalf of this.
    ///
    /// # Cancel safety
    ///
    /// As safe as `work`.
    pub fn scope<F: Future>(self, work: F) -> Scoped<F> {
        Scoped::new(self, work)
    }

    /// Sets the deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the number of the try; 0 is taken for 1.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.repeats = attempt.saturating_sub(1);
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = (!metadata.is_empty()).then(|| Arc::new(metadata));
        self
    }

    /// When the call must be over.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// The number of the try that came in, 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.repeats.saturating_add(1)
    }

    /// The `traceparent`, as it came.
    #[must_use]
    pub fn traceparent(&self) -> Option<&HeaderValue> {
        self.trace.as_ref().map(|trace| &trace.parent)
    }

    /// The metadata to hand on.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_deref()
    }

    /// Writes the number of the try, the trace and the metadata into a request; what the request
    /// says itself of the trace and the metadata stays. The deadline is written by
    /// [`Deadline::write_to`], since a try may have less.
    pub fn write_to(&self, headers: &mut HeaderMap, attempt: u32) {
        write_attempt(headers, attempt.max(self.attempt()));
        if let Some(trace) = &self.trace
            && !headers.contains_key(TRACEPARENT)
        {
            headers.insert(TRACEPARENT, trace.parent.clone());
            headers.remove(TRACESTATE);
            for state in &trace.state {
                headers.append(TRACESTATE, state.clone());
            }
        }
        if let Some(metadata) = &self.metadata {
            metadata.write_to(headers);
        }
    }
}

/// Absent is 1, so that the many pay nothing for the few.
pub(crate) fn write_attempt(headers: &mut HeaderMap, attempt: u32) {
    if attempt > 1 {
        headers.insert(ATTEMPT, HeaderValue::from(attempt));
    } else {
        headers.remove(ATTEMPT);
    }
}

fn attempt(headers: &HeaderMap) -> u32 {
    let mut values = headers.get_all(ATTEMPT).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return 1;
    };
    let number = value.to_str().ok().and_then(|value| value.parse().ok());
    number.unwrap_or(1)
}

fn trace(headers: &HeaderMap) -> Option<Trace> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else {
        return None;
    };
    Some(Trace {
        parent: parent.clone(),
        state: headers.get_all(TRACESTATE).iter().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn what_came_in_goes_out() {
        let incoming = headers(&[
            ("timeout", "5000000000"),
            ("x-attempt", "3"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
            ("x-tenant", "blue"),
        ]);
        let context = Context::from_headers(&incoming);
        assert_eq!(context.attempt(), 3);
        assert!(context.deadline().is_some());
        let mut outgoing = HeaderMap::new();
        context.write_to(&mut outgoing, 1);
        for name in ["x-attempt", "traceparent", "tracestate"] {
            let values = |headers: &HeaderMap| -> Vec<HeaderValue> {
                headers.get_all(name).iter().cloned().collect()
            };
            assert_eq!(values(&outgoing), values(&incoming), "{name}");
        }
        assert_eq!(outgoing.get("x-tenant"), None, "nobody asked for metadata");
        context.write_to(&mut outgoing, 4);
        assert_eq!(outgoing["x-attempt"], "4");
    }

    #[test]
    fn bad_numbers_are_the_first_try() {
        for value in ["", "-1", "0", "x", "99999999999999"] {
            let context = Context::from_headers(&headers(&[("x-attempt", value)]));
            assert_eq!(context.attempt(), 1, "{value}");
        }
        let twice = headers(&[("x-attempt", "2"), ("x-attempt", "3")]);
        assert_eq!(Context::from_headers(&twice).attempt(), 1);
        let parents = headers(&[("traceparent", "a"), ("traceparent", "b")]);
        assert_eq!(Context::from_headers(&parents).traceparent(), None);
    }

    #[tokio::test]
    async fn scopes_nest_and_end() {
        assert_eq!(Context::current().attempt(), 1);
        let inner = Context::default().with_attempt(5);
        let outer = Context::default().with_attempt(2);
        outer
            .scope(async {
                assert_eq!(Context::current().attempt(), 2);
                inner
                    .scope(async { assert_eq!(Context::current().attempt(), 5) })
                    .await;
                assert_eq!(Context::with(Context::attempt), 2);
            })
            .await;
        assert_eq!(Context::current().attempt(), 1);
    }
}
