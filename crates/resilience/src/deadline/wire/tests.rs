//! Laws of the two headers.

use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value).expect("a value");
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

fn parsed(lines: &[(&'static str, &[u8])]) -> Result<Option<Duration>, BadTimeout> {
    let now = Instant::now();
    let deadline = Deadline::from_headers_at(&headers(lines), now)?;
    Ok(deadline.map(|deadline| deadline.remaining_at(now)))
}

#[test]
fn good_timeouts_are_read() {
    let rows: &[(&'static str, &[u8], Duration)] = &[
        ("timeout", b"1", Duration::from_nanos(1)),
        ("timeout", b"1000000000", Duration::from_secs(1)),
        (
            "timeout",
            b"0000000000000000000000000007",
            Duration::from_nanos(7),
        ),
        // Further away than any call: kept at thirty years.
        ("timeout", b"9223372036854775807", super::super::FAR),
        ("grpc-timeout", b"99999999H", super::super::FAR),
        ("grpc-timeout", b"00000001S", Duration::from_secs(1)),
        ("grpc-timeout", b"2M", Duration::from_secs(120)),
        ("grpc-timeout", b"1H", Duration::from_secs(3600)),
        ("grpc-timeout", b"250m", Duration::from_millis(250)),
        ("grpc-timeout", b"7u", Duration::from_micros(7)),
        ("grpc-timeout", b"7n", Duration::from_nanos(7)),
        ("grpc-timeout", b"0n", Duration::ZERO),
    ];
    for (name, value, left) in rows {
        assert_eq!(
            parsed(&[(*name, *value)]),
            Ok(Some(*left)),
            "{name}: {value:?}"
        );
    }
    assert_eq!(parsed(&[]), Ok(None));
}

#[test]
fn bad_timeouts_name_the_header_the_value_and_the_rule() {
    use TimeoutRule::*;
    let rows: &[(&'static str, &[u8], TimeoutRule)] = &[
        ("timeout", b"-1", NotDigits),
        ("timeout", b"+1", NotDigits),
        ("timeout", b"0", Zero),
        ("timeout", b"1e9", NotDigits),
        ("timeout", b"18446744073709551615", TooLarge),
        ("timeout", b"9223372036854775808", TooLarge),
        ("timeout", b"99999999999999999999999999", TooLarge),
        ("timeout", b"5s", NotDigits),
        ("timeout", b"", Empty),
        ("timeout", b"1 2", NotDigits),
        ("timeout", b"Second-3600", NotDigits),
        ("timeout", b"\xff\xfe", NotDigits),
        ("grpc-timeout", b"999999999S", TooManyDigits),
        ("grpc-timeout", b"1x", UnknownUnit),
        ("grpc-timeout", b"1", UnknownUnit),
        ("grpc-timeout", b"S", NotDigits),
        ("grpc-timeout", b"", Empty),
        ("grpc-timeout", b"-1S", NotDigits),
        ("grpc-timeout", b"1.5S", NotDigits),
        ("grpc-timeout", b"1000000000000000000000x", UnknownUnit),
    ];
    for (name, value, rule) in rows {
        let bad = parsed(&[(*name, *value)]).expect_err("bad");
        assert_eq!((bad.header(), bad.rule()), (*name, *rule), "{bad}");
        let text = bad.to_string();
        assert!(text.contains(&value.escape_ascii().to_string()), "{text}");
        assert_eq!(bad.otherwise(), None);
    }
    let twice: [(&'static str, &[u8]); 2] = [("timeout", b"5"), ("timeout", b"5")];
    let bad = parsed(&twice).expect_err("two");
    assert_eq!(
        bad.to_string(),
        "header timeout is \"5\": it must stand there once"
    );
}

#[test]
fn what_is_shown_of_a_bad_value_is_cut_and_escaped() {
    let long = [b'"'; 5000];
    let bad = parsed(&[("timeout", &long)]).expect_err("bad");
    assert!(bad.value().len() <= 4 * SHOWN + 3, "{bad}");
    assert!(bad.value().starts_with("\\\""), "{bad}");
}

#[test]
fn the_earlier_wins_and_a_good_one_outlives_a_bad_one() {
    let both: [(&'static str, &[u8]); 2] = [("timeout", b"1000000"), ("grpc-timeout", b"5m")];
    assert_eq!(parsed(&both), Ok(Some(Duration::from_millis(1))));
    let both: [(&'static str, &[u8]); 2] = [("timeout", b"9000000"), ("grpc-timeout", b"5m")];
    assert_eq!(parsed(&both), Ok(Some(Duration::from_millis(5))));
    for lines in [
        [("timeout", &b"5s"[..]), ("grpc-timeout", b"5m")],
        [("timeout", b"5000000"), ("grpc-timeout", b"5x")],
    ] {
        assert!(parsed(&lines).expect_err("bad").otherwise().is_some());
        let accepted = Deadline::accept(&headers(&lines)).expect("the good one");
        assert!(accepted.remaining() <= Duration::from_millis(5));
    }
    assert_eq!(Deadline::accept(&headers(&[("timeout", b"0")])), None);
}

#[test]
fn the_finest_unit_that_fits_is_written() {
    for (nanoseconds, text) in [
        (1, "1n"),
        (99_999_999, "99999999n"),
        (100_000_000, "100000u"),
        (5_000_000_000, "5000000u"),
        (99_999_999_999, "99999999u"),
        (100_000_000_000, "100000m"),
        (99_999_999_999_999, "99999999m"),
        (100_000_000_000_000, "100000S"),
    ] {
        assert_eq!(to_grpc_timeout(nanoseconds), text);
    }
    assert_eq!(to_grpc_timeout(100_000_000 * 1_000_000_000), "1666666M");
    assert_eq!(to_grpc_timeout(6_000_000_000 * 1_000_000_000), "1666666H");
    assert_eq!(to_grpc_timeout(u64::MAX), "5124095H");
}

#[test]
fn a_deadline_that_has_passed_leaves_the_least_there_is() {
    let mut headers = headers(&[("timeout", b"77"), ("timeout", b"78")]);
    let now = Instant::now();
    Deadline::from(now).write_to_at(&mut headers, now + Duration::from_secs(1));
    assert_eq!(headers.get_all(TIMEOUT).iter().count(), 1);
    assert_eq!(headers[TIMEOUT], "1");
    assert_eq!(headers[GRPC_TIMEOUT], "1n");
}

#[test]
fn of_no_deadline_nothing_is_told() {
    let mut headers = headers(&[("timeout", b"77"), ("grpc-timeout", b"7S")]);
    Deadline::never().write_to(&mut headers);
    assert!(headers.is_empty(), "{headers:?}");
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_never_more(nanoseconds in 1_u64..=i64::MAX.unsigned_abs()) {
        let now = Instant::now();
        let left = Duration::from_nanos(nanoseconds).min(super::super::FAR / 2);
        let mut headers = HeaderMap::new();
        Deadline::after_at(left, now).write_to_at(&mut headers, now);
        let micro = nanoseconds_of(&headers);
        prop_assert_eq!(micro, left);
        let grpc = grpc_timeout(headers[GRPC_TIMEOUT].as_bytes()).expect("ours");
        prop_assert!(grpc <= left);
        // Rounding takes less than the last of at least six digits.
        prop_assert!(left - grpc <= left / 100_000, "{left:?} became {grpc:?}");
    }

    #[test]
    fn no_value_panics(value in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in [TIMEOUT, GRPC_TIMEOUT] {
                let mut headers = HeaderMap::new();
                headers.insert(name, value.clone());
                let _ = Deadline::from_headers(&headers);
            }
        }
    }

    #[test]
    fn digits_are_what_the_standard_library_reads(value in "[0-9]{1,22}") {
        let model = value.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok());
        prop_assert_eq!(digits(value.as_bytes()).ok(), model);
    }
}

fn nanoseconds_of(headers: &HeaderMap) -> Duration {
    nanoseconds(headers[TIMEOUT].as_bytes()).expect("ours")
}
