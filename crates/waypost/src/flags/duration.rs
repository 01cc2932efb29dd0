//! Durations as people write them.

use std::time::Duration;

/// Longest duration that is taken. Nothing of the house lasts longer, and sums of it cannot
/// overflow a clock.
const MOST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Parses a duration: a bare number is seconds; units are `h`, `m`, `s`, `ms`, `us` and `ns`,
/// which may be strung together.
///
/// ```
/// use std::time::Duration;
/// use waypost::flags::parse_duration;
///
/// assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
/// assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
/// assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
/// assert!(parse_duration("-1s").is_err());
/// ```
///
/// # Errors
/// One sentence with the text and the rule that it breaks.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is no duration; write 30, 15s, 500ms or 1m30s");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(fault());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'));
        let (number, tail) = rest.split_at(digits.unwrap_or(rest.len()));
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = tail.split_at(unit_end.unwrap_or(tail.len()));
        let bare_is_all = number.len() == text.trim().len();
        let unit = match unit {
            "" if bare_is_all => 1.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(fault()),
        };
        seconds += number.parse::<f64>().map_err(|_| fault())? * unit;
        rest = tail;
    }
    // Rounded to nanoseconds, so that 500ms is not 499.999999ms.
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= MOST => Ok(duration),
        _ => Err(format!(
            "{text:?} is too long a duration; at most 8784h (366 days) is allowed"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_exactly() {
        for (text, milliseconds) in [
            ("0", 0),
            ("30", 30_000),
            ("15s", 15_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1.5s", 1_500),
            ("0.1", 100),
            (" 2s ", 2_000),
            ("1s250ms", 1_250),
            ("8784h", 366 * 24 * 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("3us"), Ok(Duration::from_micros(3)));
    }

    #[test]
    fn anything_else_is_refused_with_the_rule() {
        for text in [
            "",
            " ",
            "s",
            "-1",
            "-1s",
            "1x",
            "1m30",
            "30 s",
            "1e3",
            "NaN",
            "inf",
            ".",
            "1..2s",
            "+5",
            "1000000000000",
            "99999999999999999999999999s",
            "5 minutes",
        ] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains("duration"), "{error}");
        }
    }
}
