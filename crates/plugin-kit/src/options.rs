//! A target's options, read by the driver's table.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use waypost_core::{Driver, Error, OptionSpec, Result, Secret, Target};

/// Largest file that an option may name.
const MAX_FILE: u64 = 1024 * 1024;

/// A row of a driver's table of options.
#[must_use]
pub const fn option(
    key: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> OptionSpec {
    OptionSpec {
        key,
        value,
        default,
        help,
    }
}

/// The options of one target, checked against its driver's table: the one source of keys,
/// defaults and help.
#[derive(Debug)]
pub struct OptionReader<'a> {
    driver: &'static Driver,
    target: &'a Target,
}

impl<'a> OptionReader<'a> {
    /// Checks that the driver knows every option of `target`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) for an unknown key, naming the
    /// nearest right one and all there are.
    pub fn new(driver: &'static Driver, target: &'a Target) -> Result<Self> {
        match target
            .options()
            .keys()
            .find(|key| spec(driver, key).is_none())
        {
            None => Ok(Self { driver, target }),
            Some(key) => Err(unknown(driver, key)),
        }
    }

    /// The value of `key` as it was given, else the table's default, if it has one.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let spec = spec(self.driver, key);
        debug_assert!(spec.is_some(), "{key} is not in the driver's table");
        let given = self.target.options().get(key).map(String::as_str);
        given
            .or_else(|| spec.map(|spec| spec.default))
            .filter(|value| !value.is_empty())
    }

    /// Whether `key` was given, with or without a value.
    #[must_use]
    pub fn is_given(&self, key: &str) -> bool {
        self.target.options().contains_key(key)
    }

    /// `true` or `false`; a key without a value is `true`, a missing one the table's default,
    /// else `false`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) for anything else.
    pub fn flag(&self, key: &str) -> Result<bool> {
        if self.target.options().get(key).is_some_and(String::is_empty) {
            return Ok(true);
        }
        match self.text(key) {
            None | Some("false" | "0" | "no") => Ok(false),
            Some("true" | "1" | "yes") => Ok(true),
            Some(value) => Err(self.fault(key, value, "is not `true` or `false`")),
        }
    }

    /// A length of time; see [`duration`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when it is none.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>> {
        self.parsed(key, duration)
    }

    /// A length of time that is not zero.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when it is none, or there is no value.
    pub fn positive(&self, key: &str) -> Result<Duration> {
        match self.duration(key)? {
            Some(value) if !value.is_zero() => Ok(value),
            _ => Err(self.fault(key, "0", "is no time at all")),
        }
    }

    /// A whole number in a range.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when it is none, or there is no value.
    pub fn count(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let given = self.number(key)?.unwrap_or_default();
        match usize::try_from(given) {
            Ok(count) if range.contains(&count) => Ok(count),
            _ => Err(self.fault(key, &given.to_string(), "is out of range")),
        }
    }

    /// User and password: of the target, else of the options `username` and `password_file`, which
    /// the driver's table must have.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) for one without the other, and for a
    /// password that is given twice.
    pub fn login(&self) -> Result<Option<(String, Secret)>> {
        let name = self.target.username().or_else(|| self.text("username"));
        let from_file = self.secret_file("password_file")?;
        if from_file.is_some() && self.target.password().is_some() {
            return Err(Error::config(
                "the password is given twice, as such and by option `password_file`",
            ));
        }
        match (name, from_file.or_else(|| self.target.password().cloned())) {
            (Some(name), Some(password)) => Ok(Some((name.to_owned(), password))),
            (None, None) => Ok(None),
            (Some(name), None) => Err(Error::config(format!(
                "user {name:?} has no password; option `password_file` names a file with it"
            ))),
            (None, Some(_)) => Err(Error::config(
                "a password is given without a user name; option `username` names the user",
            )),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when it is none.
    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        self.parsed(key, |value| {
            value
                .parse()
                .map_err(|_| "is not a whole number".to_owned())
        })
    }

    /// A path of a file or a directory.
    #[must_use]
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// The bytes of the file that `key` names (at most 1 MiB).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) naming option and path.
    pub fn file(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.path(key) else {
            return Ok(None);
        };
        let fault = |reason: &str| {
            Error::config(format!("option `{key}`: {} {reason}", path.display()))
                .with_driver(self.driver.name)
        };
        match read(&path) {
            Ok(bytes) if bytes.len() as u64 > MAX_FILE => Err(fault("is larger than 1 MiB")),
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(fault("cannot be read").with_source(error)),
        }
    }

    /// A secret kept in the file that `key` names, without white space around it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](waypost_core::ErrorKind::Config) when the file cannot be read, is
    /// empty or is no text; the message never shows the content.
    pub fn secret_file(&self, key: &str) -> Result<Option<Secret>> {
        let Some(bytes) = self.file(key)? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes).unwrap_or_default();
        if text.trim().is_empty() {
            let path = self.text(key).unwrap_or_default();
            return Err(
                Error::config(format!("option `{key}`: {path} holds no text"))
                    .with_driver(self.driver.name),
            );
        }
        Ok(Some(Secret::new(text.trim())))
    }

    /// An error about the value of `key`.
    #[must_use]
    pub fn fault(&self, key: &str, value: &str, rule: &str) -> Error {
        let about = spec(self.driver, key).map_or("a value", |spec| spec.value);
        Error::config(format!("option `{key}={value}` {rule}; {about} is needed"))
            .with_driver(self.driver.name)
    }

    fn parsed<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        self.text(key)
            .map(|value| parse(value).map_err(|rule| self.fault(key, value, &rule)))
            .transpose()
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn spec(driver: &'static Driver, key: &str) -> Option<&'static OptionSpec> {
    driver.options.iter().find(|spec| spec.key == key)
}

fn unknown(driver: &'static Driver, key: &str) -> Error {
    let keys: Vec<&str> = driver.options.iter().map(|spec| spec.key).collect();
    if keys.is_empty() {
        return Error::config(format!("unknown option {key:?}; this registry takes none"))
            .with_driver(driver.name);
    }
    let near = |known: &&str| strsim::osa_distance(key, known);
    let nearest = keys.iter().min_by_key(|known| near(known));
    let meant = match nearest {
        Some(known) if near(known) <= 1 + known.len() / 3 => format!("did you mean `{known}`? "),
        _ => String::new(),
    };
    Error::config(format!(
        "unknown option {key:?}; {meant}known: {}",
        keys.join(", ")
    ))
    .with_driver(driver.name)
}

/// Reads a length of time: `15s`, `500ms`, `1m30s`, `1.5h`; a bare number is seconds.
///
/// # Errors
/// A reason that goes after the value: "is not a length of time, …".
pub fn duration(text: &str) -> Result<Duration, String> {
    let fault = || "is not a length of time such as `15s`, `500ms` or `1m30s`".to_owned();
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = |c: char| c.is_ascii_digit() || c == '.';
        let (number, tail) = rest.split_at(rest.find(|c| !digits(c)).unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(digits).unwrap_or(tail.len()));
        let unit = match unit {
            "" if number.len() == text.len() => 1.0,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(fault()),
        };
        let number: f64 = number.parse().map_err(|_| fault())?;
        let part = Duration::try_from_secs_f64(number * unit).map_err(|_| fault())?;
        total = total.checked_add(part).ok_or_else(fault)?;
        rest = tail;
    }
    if text.is_empty() {
        return Err(fault());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use waypost_core::Profile;

    use super::*;

    const DRIVER: Driver = Driver {
        name: "trial",
        summary: "",
        default_port: None,
        default_address: "",
        profile: Profile {
            driver: "trial",
            least_ttl: Duration::ZERO,
            slack: Duration::ZERO,
            writable: false,
            owned: false,
            tells_loss: false,
            native_watch: false,
            remote: false,
            names_itself: true,
            one_step: true,
            writes_at_once: 256,
        },
        options: &[
            option("interval", "DURATION", "15s", ""),
            option("pages", "NUMBER", "", ""),
            option("insecure", "true|false", "", ""),
            option("token_file", "PATH", "", ""),
        ],
        connect: |_| Box::pin(std::future::ready(Err(Error::config("never")))),
    };

    fn target(options: &[(&str, &str)]) -> Target {
        let target = Target::new("trial").expect("target");
        options.iter().fold(target, |target, (key, value)| {
            target.with_option(*key, *value)
        })
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        let target = target(&[("intervall", "1s")]);
        let error = OptionReader::new(&DRIVER, &target).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "trial: unknown option \"intervall\"; did you mean `interval`? known: interval, pages, \
             insecure, token_file"
        );
    }

    #[test]
    fn values_are_read_by_type_and_defaults_come_from_the_table() {
        let none = target(&[]);
        let reader = OptionReader::new(&DRIVER, &none).expect("reader");
        assert_eq!(
            reader.duration("interval").expect("duration"),
            Some(Duration::from_secs(15))
        );
        assert_eq!(reader.number("pages").expect("number"), None);
        assert!(!reader.flag("insecure").expect("flag"));

        let given = target(&[("interval", "500ms"), ("pages", "7"), ("insecure", "")]);
        let reader = OptionReader::new(&DRIVER, &given).expect("reader");
        assert_eq!(
            reader.duration("interval").expect("duration"),
            Some(Duration::from_millis(500))
        );
        assert_eq!(reader.number("pages").expect("number"), Some(7));
        assert!(reader.flag("insecure").expect("flag"));

        let wrong = target(&[("interval", "soon"), ("pages", "-1"), ("insecure", "maybe")]);
        let reader = OptionReader::new(&DRIVER, &wrong).expect("reader");
        assert_eq!(
            reader.number("pages").expect_err("wrong").to_string(),
            "trial: option `pages=-1` is not a whole number; NUMBER is needed"
        );
        assert!(reader.duration("interval").is_err());
        assert!(reader.flag("insecure").is_err());

        let out = target(&[("interval", "0s"), ("pages", "9")]);
        let reader = OptionReader::new(&DRIVER, &out).expect("reader");
        let none = reader.positive("interval").expect_err("no time");
        assert!(none.to_string().contains("is no time at all"), "{none}");
        assert_eq!(reader.count("pages", 1..=9).expect("in range"), 9);
        let many = reader.count("pages", 1..=8).expect_err("out of range");
        assert!(
            many.to_string().contains("`pages=9` is out of range"),
            "{many}"
        );
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("15", 15_000),
            ("15s", 15_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "s",
            "15x",
            "1m30",
            "-1s",
            "1..5s",
            " 1s",
            "1e9",
            "99999999999999999999999h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_comes_from_a_file_and_is_never_shown() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("token");
        std::fs::write(&path, "S3CR3T\n").expect("write");
        let given = target(&[("token_file", path.to_str().expect("utf-8"))]);
        let reader = OptionReader::new(&DRIVER, &given).expect("reader");
        let secret = reader
            .secret_file("token_file")
            .expect("read")
            .expect("given");
        assert_eq!(secret.expose(), "S3CR3T");

        std::fs::remove_file(&path).expect("remove");
        let error = reader
            .secret_file("token_file")
            .expect_err("missing")
            .chain();
        assert!(
            error.contains("token_file") && error.contains("No such file"),
            "{error}"
        );
    }
}
