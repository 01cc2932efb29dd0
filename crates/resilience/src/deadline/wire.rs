//! How what is left of a deadline travels: go-micro's `Timeout` and `grpc-timeout`.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::{Deadline, FAR};

/// go-micro's header: what is left, in nanoseconds.
pub const TIMEOUT: HeaderName = HeaderName::from_static("timeout");
/// gRPC's header: at most eight digits and a unit.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Most bytes of a bad value that are shown: it was made by others.
const SHOWN: usize = 48;
/// The most that eight digits can say.
const EIGHT_DIGITS: u64 = 99_999_999;
/// gRPC's units, in nanoseconds, the finest first.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// What is wrong with a `Timeout` or a `grpc-timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutRule {
    /// The header stands there more than once.
    Repeated,
    /// It says nothing.
    Empty,
    /// It is no whole number without a sign.
    NotDigits,
    /// go-micro's zero, which an unset option becomes.
    Zero,
    /// More than Go can count in nanoseconds, 292 years.
    TooLarge,
    /// More than eight digits in a `grpc-timeout`.
    TooManyDigits,
    /// A `grpc-timeout` that does not end in one of `H M S m u n`.
    UnknownUnit,
}

impl TimeoutRule {
    /// The rule as a word, for a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::Empty => "empty",
            Self::NotDigits => "not_digits",
            Self::Zero => "zero",
            Self::TooLarge => "too_large",
            Self::TooManyDigits => "too_many_digits",
            Self::UnknownUnit => "unknown_unit",
        }
    }
}

impl fmt::Display for TimeoutRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repeated => "it must stand there once",
            Self::Empty => "it must not be empty",
            Self::NotDigits => "it must be a whole number, digits only",
            Self::Zero => "it must be more than 0",
            Self::TooLarge => "it must be at most 9223372036854775807",
            Self::TooManyDigits => "it must have at most 8 digits",
            Self::UnknownUnit => "it must end in one of H M S m u n",
        })
    }
}

/// A header with a timeout that cannot be believed.
///
/// A server ignores it and goes by [`otherwise`](Self::otherwise) and its own limit, as
/// [`Deadline::accept`] does: nobody's call is refused for a header that it could have left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTimeout {
    header: &'static str,
    value: String,
    rule: TimeoutRule,
    otherwise: Option<Deadline>,
}

impl BadTimeout {
    /// Which header it is: `timeout` or `grpc-timeout`.
    #[must_use]
    pub fn header(&self) -> &'static str {
        self.header
    }

    /// What the header says, escaped and cut.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The rule that it breaks.
    #[must_use]
    pub fn rule(&self) -> TimeoutRule {
        self.rule
    }

    /// The deadline by the other of the two headers, where that one is good.
    #[must_use]
    pub fn otherwise(&self) -> Option<Deadline> {
        self.otherwise
    }
}

impl fmt::Display for BadTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            header,
            value,
            rule,
            ..
        } = self;
        write!(f, "header {header} is \"{value}\": {rule}")
    }
}

impl std::error::Error for BadTimeout {}

impl Deadline {
    /// Reads `Timeout` and `grpc-timeout`; the earlier wins, and none is none.
    ///
    /// `grpc-timeout: 0n` is a deadline that has passed, as every gRPC server has it. `Timeout: 0`
    /// is an error: go-micro sends it for an option that nobody set.
    ///
    /// # Errors
    ///
    /// [`BadTimeout`] for a header that breaks a [`TimeoutRule`].
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, BadTimeout> {
        Self::from_headers_at(headers, Instant::now())
    }

    /// The same, for a request that arrived at `now`.
    ///
    /// # Errors
    ///
    /// [`BadTimeout`] for a header that breaks a [`TimeoutRule`].
    pub fn from_headers_at(headers: &HeaderMap, now: Instant) -> Result<Option<Self>, BadTimeout> {
        let micro = read(headers, &TIMEOUT, now, nanoseconds);
        let grpc = read(headers, &GRPC_TIMEOUT, now, grpc_timeout);
        match (micro, grpc) {
            (Ok(micro), Ok(grpc)) => Ok(match (micro, grpc) {
                (Some(micro), Some(grpc)) => Some(micro.min(grpc)),
                (micro, grpc) => micro.or(grpc),
            }),
            (Err((value, rule)), other) => {
                Err(bad("timeout", value, rule, other.unwrap_or_default()))
            }
            (Ok(other), Err((value, rule))) => Err(bad("grpc-timeout", value, rule, other)),
        }
    }

    /// What a server goes by: a bad header is counted in `waypost_bad_timeouts_total` and ignored.
    #[must_use]
    pub fn accept(headers: &HeaderMap) -> Option<Self> {
        Self::accept_at(headers, Instant::now())
    }

    /// The same, for a request that arrived at `now`.
    #[must_use]
    pub fn accept_at(headers: &HeaderMap, now: Instant) -> Option<Self> {
        if headers.is_empty() {
            return None;
        }
        Self::from_headers_at(headers, now).unwrap_or_else(|bad| {
            let (header, rule) = (bad.header(), bad.rule().as_str());
            metrics::counter!("waypost_bad_timeouts_total", "header" => header, "rule" => rule)
                .increment(1);
            tracing::debug!(%bad, "a timeout is ignored");
            bad.otherwise()
        })
    }

    /// Writes what is left into both headers, in place of what they said.
    ///
    /// It is rounded down, never up. Of a deadline that has passed one nanosecond is written: a
    /// peer who gets it all the same has nothing to start. Of [`Deadline::never`] nothing is written.
    pub fn write_to(self, headers: &mut HeaderMap) {
        self.write_to_at(headers, Instant::now());
    }

    /// The same, for who has read the clock already.
    pub fn write_to_at(self, headers: &mut HeaderMap, now: Instant) {
        let left = self.remaining_at(now).max(Duration::from_nanos(1));
        if left > FAR / 2 {
            headers.remove(TIMEOUT);
            headers.remove(GRPC_TIMEOUT);
            return;
        }
        // FAR bounds what is left; an instant made by others may be further away.
        let nanoseconds = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let nanoseconds = nanoseconds.min(i64::MAX.unsigned_abs());
        headers.insert(TIMEOUT, passing(number(nanoseconds, None)));
        headers.insert(GRPC_TIMEOUT, passing(to_grpc_timeout(nanoseconds)));
    }
}

/// No two requests say the same: in HTTP/2's table of headers it would only be in the way of what is
/// said again, on both sides.
fn passing(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn bad(
    header: &'static str,
    value: &[u8],
    rule: TimeoutRule,
    otherwise: Option<Deadline>,
) -> BadTimeout {
    let shown = &value[..value.len().min(SHOWN)];
    let mut text = shown.escape_ascii().to_string();
    if shown.len() < value.len() {
        text.push_str("...");
    }
    BadTimeout {
        header,
        value: text,
        rule,
        otherwise,
    }
}

type Read<'a> = Result<Option<Deadline>, (&'a [u8], TimeoutRule)>;

fn read<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    now: Instant,
    parse: impl Fn(&[u8]) -> Result<Duration, TimeoutRule>,
) -> Read<'a> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let value = value.as_bytes();
    if values.next().is_some() {
        return Err((value, TimeoutRule::Repeated));
    }
    match parse(value) {
        Ok(left) => Ok(Some(Deadline::after_at(left, now))),
        Err(rule) => Err((value, rule)),
    }
}

fn digits(value: &[u8]) -> Result<u64, TimeoutRule> {
    if value.is_empty() {
        return Err(TimeoutRule::Empty);
    }
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(TimeoutRule::NotDigits);
    }
    let number = value.iter().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    number
        .filter(|number| i64::try_from(*number).is_ok())
        .ok_or(TimeoutRule::TooLarge)
}

fn nanoseconds(value: &[u8]) -> Result<Duration, TimeoutRule> {
    match digits(value)? {
        0 => Err(TimeoutRule::Zero),
        number => Ok(Duration::from_nanos(number)),
    }
}

fn grpc_timeout(value: &[u8]) -> Result<Duration, TimeoutRule> {
    let Some((unit, number)) = value.split_last() else {
        return Err(TimeoutRule::Empty);
    };
    let unit = UNITS.iter().find(|(letter, _)| letter == unit);
    let Some((_, unit)) = unit else {
        return Err(TimeoutRule::UnknownUnit);
    };
    if number.is_empty() {
        return Err(TimeoutRule::NotDigits);
    }
    if number.len() > 8 && number.iter().all(u8::is_ascii_digit) {
        return Err(TimeoutRule::TooManyDigits);
    }
    // Eight digits of hours are more nanoseconds than a u64 has.
    let number = digits(number)?;
    let seconds = u128::from(number) * u128::from(*unit) / 1_000_000_000;
    let rest = u128::from(number) * u128::from(*unit) % 1_000_000_000;
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    Ok(Duration::new(seconds, u32::try_from(rest).unwrap_or(0)))
}

/// The finest unit in which what is left has at most eight digits, rounded down.
fn to_grpc_timeout(nanoseconds: u64) -> HeaderValue {
    let fits = |unit: u64| nanoseconds < (EIGHT_DIGITS + 1).saturating_mul(unit);
    let unit = UNITS.iter().find(|(_, unit)| fits(*unit));
    let (letter, unit) = *unit.unwrap_or(&UNITS[UNITS.len() - 1]);
    number((nanoseconds / unit).min(EIGHT_DIGITS), Some(letter))
}

/// A number and its unit, in one allocation.
fn number(mut number: u64, unit: Option<u8>) -> HeaderValue {
    let mut text = [0; 21];
    let length = text.len();
    let mut start = length;
    for (place, byte) in text.iter_mut().enumerate().rev() {
        if let Some(unit) = unit.filter(|_| place + 1 == length) {
            (*byte, start) = (unit, place);
            continue;
        }
        (*byte, start) = (b'0' + (number % 10) as u8, place);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    // Digits and a letter are always a value; the least there is stands in for what cannot be.
    HeaderValue::from_bytes(&text[start..]).unwrap_or(HeaderValue::from_static("1n"))
}

#[cfg(test)]
mod tests;
