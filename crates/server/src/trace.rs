//! The W3C trace context of a request.

use http::{HeaderMap, Request};

/// Which trace a request belongs to, as its caller says in the `traceparent` header.
///
/// The server puts one into the extensions of every request whose header is well formed; a
/// malformed one is ignored, as the specification asks for.
///
/// ```
/// use waypost_server::TraceContext;
///
/// let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context = TraceContext::parse(header).expect("well formed");
/// assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert!(context.is_sampled());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    parent: u64,
    flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent` header; `None` where it breaks the specification.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = u8::try_from(hex(version, 2)?).ok()?;
        // Version 0 has four parts; a later one may have more behind them; 255 is forbidden.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let context = Self {
            trace: hex(trace, 32)?,
            parent: u64::try_from(hex(parent, 16)?).ok()?,
            flags: u8::try_from(hex(flags, 2)?).ok()?,
        };
        (context.trace != 0 && context.parent != 0).then_some(context)
    }

    /// The context of a request; several headers are none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all("traceparent").iter();
        let only = all.next().filter(|_| all.next().is_none())?;
        Self::parse(only.to_str().ok()?)
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The id of the caller's span: 16 hexadecimal digits.
    #[must_use]
    pub fn parent_id(&self) -> String {
        format!("{:016x}", self.parent)
    }

    /// Whether the caller records this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

/// Exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fits = text.len() == digits && text.bytes().all(lower);
    fits.then(|| u128::from_str_radix(text, 16).ok())?
}

/// The span of one request. Nothing is formatted where nobody listens.
pub(crate) fn span<B>(request: &Request<B>, service: &str, endpoint: &str) -> tracing::Span {
    let span = tracing::info_span!(
        "request",
        service,
        endpoint,
        method = request.method().as_str(),
        trace_id = tracing::field::Empty,
        parent_id = tracing::field::Empty,
        code = tracing::field::Empty,
    );
    if !span.is_disabled()
        && let Some(context) = request.extensions().get::<TraceContext>()
    {
        span.record("trace_id", context.trace_id());
        span.record("parent_id", context.parent_id());
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn a_malformed_header_is_none() {
        assert!(!TraceContext::parse(GOOD).expect("good").is_sampled());
        let later = format!("01{}-what-follows", &GOOD[2..]);
        assert!(TraceContext::parse(&later).is_some());
        for bad in [
            "",
            "00",
            &GOOD[1..],
            &GOOD.to_uppercase(),
            &format!("{GOOD}-more"),
            &format!("{GOOD} "),
            &format!("ff{}", &GOOD[2..]),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", GOOD.parse().expect("value"));
        assert!(TraceContext::of(&headers).is_some());
        headers.append("traceparent", GOOD.parse().expect("value"));
        assert_eq!(TraceContext::of(&headers), None);
    }
}
