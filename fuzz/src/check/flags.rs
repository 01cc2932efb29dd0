//! A command line, one argument a line, and lengths of time.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args as _, Command, FromArgMatches as _};
use waypost::flags::{Flags, normalized, parse_duration, timing_warning};
use waypost_core::RegistrationOptions;
use waypost_plugin_kit::options;

/// Longest duration that a flag takes.
const MOST: Duration = Duration::from_secs(366 * 24 * 3600);

/// One command line.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    text.lines().for_each(durations);
    let line: Vec<OsString> = text.lines().map(OsString::from).collect();
    let once = normalized(line.clone());
    assert_eq!(once.len(), line.len());
    assert_eq!(normalized(once.clone()), once);
    if let Some(end) = line.iter().skip(1).position(|word| word == "--") {
        assert_eq!(
            once[end + 1..],
            line[end + 1..],
            "what stands behind `--` is not ours"
        );
    }
    parsed(once);
}

fn durations(text: &str) {
    let flag = parse_duration(text);
    if let Ok(time) = flag {
        assert!(time <= MOST, "{text:?}");
        let written = format!("{}s{}ns", time.as_secs(), time.subsec_nanos());
        let again = parse_duration(&written).expect("a duration");
        // A year in a float is exact to some nanoseconds.
        assert!(again.abs_diff(time) < Duration::from_micros(1), "{text:?}");
    }
    // Flags and options of a URL agree on what they both take.
    if let (Ok(option), Ok(flag)) = (options::duration(text), &flag) {
        assert!(
            option.abs_diff(*flag) < Duration::from_micros(1),
            "{text:?}"
        );
    }
    if let (Ok(option), Err(fault)) = (options::duration(text), &flag) {
        assert!(option > MOST, "{text:?}: {fault}");
    }
}

fn parsed(line: Vec<OsString>) {
    let command = Flags::augment_args(Command::new("app")).disable_help_flag(true);
    let Ok(matches) = command.try_get_matches_from(line) else {
        return;
    };
    let Ok(flags) = Flags::from_arg_matches(&matches) else {
        return;
    };
    let options = flags.registration(RegistrationOptions::new());
    let _ = timing_warning(&options);
    if options.validate(Duration::from_secs(1)).is_ok() {
        assert!(options.ttl >= Duration::from_secs(1));
        assert!(
            options
                .interval
                .is_none_or(|interval| interval < options.ttl)
        );
    }
    // A file that a line names is not opened here.
    if flags.registry_password_file.is_none()
        && let Ok(target) = flags.target("file")
    {
        assert_eq!(target.password(), None, "a command line holds no password");
    }
}
