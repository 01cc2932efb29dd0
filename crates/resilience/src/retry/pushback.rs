//! What a peer asks for in its answer: to be left alone for a while, or for good.

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// What a peer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pushback {
    /// How long it asks to be left alone.
    pub after: Option<Duration>,
    /// It asks not to be tried again.
    pub never: bool,
}

impl Pushback {
    /// Reads `Retry-After` and `grpc-retry-pushback-ms`, from the head of an answer or from gRPC's
    /// trailers; the longer wins.
    ///
    /// By gRFC A6 a pushback below zero, or one that is no number, means "do not retry". A
    /// `Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3). A date is measured from the
    /// answer's own `Date`, since clocks need not agree; without one, and with anything else, it is
    /// ignored.
    ///
    /// ```
    /// use std::time::Duration;
    /// use waypost_resilience::Pushback;
    ///
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("retry-after", "2".parse().unwrap());
    /// let pushback = Pushback::from_headers(&headers);
    /// assert_eq!(pushback.after, Some(Duration::from_secs(2)));
    /// ```
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let seconds = headers.get(RETRY_AFTER).and_then(|value| {
            let number = number(value.as_bytes()).map(Duration::from_secs);
            number.or_else(|| from_its_date(headers, value))
        });
        let Some(pushback) = headers.get(GRPC_PUSHBACK) else {
            return Self {
                after: seconds,
                never: false,
            };
        };
        let millis = number(pushback.as_bytes()).map(Duration::from_millis);
        Self {
            after: seconds.max(millis),
            never: millis.is_none(),
        }
    }
}

/// How long `until` is after the moment of the answer.
fn from_its_date(headers: &HeaderMap, until: &HeaderValue) -> Option<Duration> {
    let date = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    let left = date(until)?.duration_since(date(headers.get(DATE)?)?);
    Some(left.unwrap_or_default())
}

/// Digits only; one that is too large is the largest.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0_u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_ask_for_is_read() {
        type Row = (&'static [(&'static str, &'static str)], Option<u64>, bool);
        let rows: &[Row] = &[
            (&[], None, false),
            (&[("retry-after", "1")], Some(1_000), false),
            (&[("retry-after", "0")], Some(0), false),
            (&[("retry-after", "-1")], None, false),
            (
                &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")],
                None,
                false,
            ),
            (
                &[
                    ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
                    ("date", "Fri, 31 Dec 1999 23:59:29 GMT"),
                ],
                Some(30_000),
                false,
            ),
            (
                &[
                    ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
                    ("date", "Sat, 01 Jan 2000 00:00:00 GMT"),
                ],
                Some(0),
                false,
            ),
            (&[("grpc-retry-pushback-ms", "250")], Some(250), false),
            (&[("grpc-retry-pushback-ms", "-1")], None, true),
            (&[("grpc-retry-pushback-ms", "soon")], None, true),
            (&[("grpc-retry-pushback-ms", "")], None, true),
            (
                &[("retry-after", "1"), ("grpc-retry-pushback-ms", "250")],
                Some(1_000),
                false,
            ),
            (
                &[("retry-after", "1"), ("grpc-retry-pushback-ms", "-1")],
                Some(1_000),
                true,
            ),
        ];
        for (lines, millis, never) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in *lines {
                headers.insert(*name, value.parse().expect("a value"));
            }
            let pushback = Pushback::from_headers(&headers);
            let after = millis.map(Duration::from_millis);
            assert_eq!(
                pushback,
                Pushback {
                    after,
                    never: *never
                },
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_wait_beyond_all_bounds_is_the_longest() {
        assert_eq!(number(b"99999999999999999999999999"), Some(u64::MAX));
    }
}
