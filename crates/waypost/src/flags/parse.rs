//! From clap's matches and the environment to [`Flags`].

use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use waypost_core::{Metadata, Origin, Secret};

use super::table::{FLAGS, Flag, Kind};
use super::{Flags, Given, parse_duration};

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let environment = |name: &str| std::env::var(name).ok();
        read(matches, &environment)
            .map_err(|fault| clap::Error::raw(ErrorKind::InvalidValue, fault + "\n"))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?.or(std::mem::take(self));
        Ok(())
    }
}

/// The environment is read here and not by clap: clap would show its values in the help text, where
/// a URL's password does not belong, and would blame the flag for a variable's value.
fn arg(flag: &Flag) -> Arg {
    let arg = Arg::new(flag.name)
        .long(flag.name)
        .value_name(flag.value)
        .help(format!("{} [env: {}]", flag.help, flag.env))
        .help_heading("Registry and service (as go-micro spells them)")
        .global(true);
    let arg = arg.hide_short_help(!flag.name.starts_with("regist") || flag.name.contains("_tls_"));
    match flag.kind {
        Kind::Once => arg,
        Kind::Repeated => arg.action(ArgAction::Append),
        Kind::EnvironmentOnly => arg.hide(true),
    }
}

/// Where the values come from.
struct Source<'a> {
    matches: &'a ArgMatches,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

/// One value, and the name to blame for it.
struct Found {
    text: String,
    blame: String,
    origin: Origin,
}

impl Source<'_> {
    fn flag(name: &str) -> Result<&'static Flag, String> {
        let found = FLAGS.iter().find(|flag| flag.name == name);
        found.ok_or_else(|| format!("--{name} is no flag of the table"))
    }

    /// The values of a flag: those on the command line, else the environment's.
    fn all(&self, name: &str) -> Result<Vec<Found>, String> {
        let flag = Self::flag(name)?;
        let given = self.matches.try_get_many::<String>(name).ok().flatten();
        let mut found: Vec<Found> = given
            .into_iter()
            .flatten()
            .map(|text| Found {
                text: text.clone(),
                blame: format!("--{name}"),
                origin: Origin::Flag,
            })
            .collect();
        if let Some(empty) = found.iter().find(|found| found.text.is_empty()) {
            return Err(format!(
                "{} is empty; leave it out or give it a value",
                empty.blame
            ));
        }
        // An empty variable is how shells and compose files say "unset".
        let unset = |text: &String| !text.is_empty();
        if let (true, Some(text)) = (found.is_empty(), (self.environment)(flag.env).filter(unset)) {
            let found_there = |text: &str| Found {
                text: text.to_owned(),
                blame: flag.env.to_owned(),
                origin: Origin::Environment,
            };
            if flag.kind == Kind::Repeated {
                found.extend(
                    text.split(',')
                        .map(str::trim)
                        .filter(|t| !t.is_empty())
                        .map(found_there),
                );
            } else {
                found.push(found_there(&text));
            }
        }
        Ok(found)
    }

    fn one(&self, name: &str) -> Result<Option<Found>, String> {
        Ok(self.all(name)?.pop())
    }

    fn given(&self, name: &str) -> Result<Option<Given>, String> {
        Ok(self
            .one(name)?
            .map(|found| Given::new(found.text, found.origin)))
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.one(name)?.map(|found| found.text))
    }

    fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let parse =
            |found: Found| parse(&found.text).map_err(|fault| format!("{}: {fault}", found.blame));
        self.one(name)?.map(parse).transpose()
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        self.parsed(name, parse_duration)
    }

    fn number(&self, name: &str) -> Result<Option<u32>, String> {
        self.parsed(name, |text| {
            u32::from_str(text).map_err(|_| format!("{text:?} is no whole number"))
        })
    }

    fn pairs(&self, name: &str) -> Result<Option<Metadata>, String> {
        let found = self.all(name)?;
        if found.is_empty() {
            return Ok(None);
        }
        let pair = |found: Found| match found.text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(format!("{}: {:?} is no key=value", found.blame, found.text)),
        };
        found
            .into_iter()
            .map(pair)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A password from the environment; one on the command line is refused unread.
    fn password(&self) -> Result<Option<Secret>, String> {
        match self.one("registry_password")? {
            Some(found) if found.origin == Origin::Flag => Err(
                "a password on the command line can be read by every process of this machine; \
                 give it in MICRO_REGISTRY_PASSWORD or with --registry_password_file"
                    .to_owned(),
            ),
            found => Ok(found.map(|found| Secret::new(found.text))),
        }
    }
}

pub(super) fn read(
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Flags, String> {
    let source = Source {
        matches,
        environment,
    };
    Ok(Flags {
        registry: source.given("registry")?,
        registry_address: source.given("registry_address")?,
        registry_tls_ca: source.text("registry_tls_ca")?,
        registry_tls_cert: source.text("registry_tls_cert")?,
        registry_tls_key: source.text("registry_tls_key")?,
        registry_username: source.text("registry_username")?,
        registry_password_file: source.text("registry_password_file")?,
        registry_password: source.password()?,
        register_ttl: source.duration("register_ttl")?,
        register_interval: source.duration("register_interval")?,
        selector: source.text("selector")?,
        selector_strategy: source.text("selector_strategy")?,
        client_retries: source.number("client_retries")?,
        client_request_timeout: source.duration("client_request_timeout")?,
        client_pool_size: source.number("client_pool_size")?,
        client_pool_ttl: source.duration("client_pool_ttl")?,
        server_name: source.text("server_name")?,
        server_version: source.text("server_version")?,
        server_id: source.text("server_id")?,
        server_address: source.text("server_address")?,
        server_advertise: source.text("server_advertise")?,
        server_metadata: source.pairs("server_metadata")?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::flags::normalized;

    /// What a program takes that is started with `line` and `environment`.
    pub(in crate::flags) fn flags(
        line: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Flags, String> {
        let args = normalized(std::iter::once(&"app").chain(line).map(Into::into));
        let command = Flags::augment_args(Command::new("app"));
        let matches = command
            .try_get_matches_from(args)
            .map_err(|e| e.to_string())?;
        let environment = |name: &str| {
            let pair = environment.iter().find(|(key, _)| *key == name);
            pair.map(|(_, value)| (*value).to_owned())
        };
        read(&matches, &environment)
    }

    /// Flag, environment, code: every combination of given and not given.
    #[test]
    fn precedence_is_flag_then_environment_then_code() {
        let seconds = |n| Some(Duration::from_secs(n));
        for (flag, environment, code, expected) in [
            (None, None, None, None),
            (None, None, seconds(3), seconds(3)),
            (None, Some("2"), None, seconds(2)),
            (None, Some("2"), seconds(3), seconds(2)),
            (Some("1"), None, None, seconds(1)),
            (Some("1"), None, seconds(3), seconds(1)),
            (Some("1"), Some("2"), None, seconds(1)),
            (Some("1"), Some("2"), seconds(3), seconds(1)),
        ] {
            let line: Vec<&str> = flag.iter().flat_map(|f| ["--register_ttl", f]).collect();
            let variables: Vec<_> = environment
                .map(|e| ("MICRO_REGISTER_TTL", e))
                .into_iter()
                .collect();
            let code = Flags {
                register_ttl: code,
                ..Flags::default()
            };
            let given = flags(&line, &variables).expect("flags").or(code);
            assert_eq!(given.register_ttl, expected, "{flag:?} {environment:?}");
        }
    }

    /// The same law for each flag of the table, so that none is forgotten in `read` or `or`.
    #[test]
    fn every_flag_is_read_from_line_and_environment_and_over_code() {
        for flag in FLAGS
            .iter()
            .filter(|flag| flag.kind != Kind::EnvironmentOnly)
        {
            let value = |n: u8| match flag.kind {
                Kind::Repeated => format!("k=v{n}"),
                _ => n.to_string(),
            };
            let line = format!("--{}={}", flag.name, value(1));
            let (one, two) = (value(1), value(2));
            let from_line = flags(&[&line], &[(flag.env, &two)]).expect(flag.name);
            let from_environment = flags(&[], &[(flag.env, &one)]).expect(flag.name);
            let code = flags(&[], &[(flag.env, &two)]).expect(flag.name);
            assert_ne!(from_environment, Flags::default(), "{}", flag.name);
            assert_ne!(from_environment, code, "{}", flag.name);
            for given in [from_line, from_environment] {
                let shown = format!("{given:?}");
                assert!(shown.contains(flag.name), "{shown}");
                assert_eq!(given.clone().or(code.clone()), given, "{}", flag.name);
                assert_eq!(Flags::default().or(given.clone()), given, "{}", flag.name);
            }
        }
    }

    #[test]
    fn the_origin_of_the_registry_is_known() {
        let origin = |flags: Flags| flags.registry.map(|given| given.origin());
        let variables = [("MICRO_REGISTRY", "etcd")];
        assert_eq!(
            origin(flags(&[], &variables).expect("flags")),
            Some(Origin::Environment)
        );
        assert_eq!(
            origin(flags(&["-registry", "file"], &variables).expect("flags")),
            Some(Origin::Flag)
        );
    }

    #[test]
    fn bad_values_name_the_flag_or_the_variable() {
        for (line, variable, needle) in [
            (&["--registry="][..], None, "--registry is empty"),
            (
                &["--register_ttl", "x"],
                None,
                "--register_ttl: \"x\" is no duration",
            ),
            (
                &["--client_retries=-1"],
                None,
                "--client_retries: \"-1\" is no whole number",
            ),
            (
                &["--server_metadata", "zone"],
                None,
                "\"zone\" is no key=value",
            ),
            (&["--registry_password=S3CR3T"], None, "command line"),
            (
                &[],
                Some(("MICRO_REGISTER_TTL", "x")),
                "MICRO_REGISTER_TTL: \"x\"",
            ),
        ] {
            let variables: Vec<_> = variable.into_iter().collect();
            let fault = flags(line, &variables).expect_err(needle);
            assert!(fault.contains(needle), "{fault}");
            assert!(!fault.contains("S3CR3T"), "{fault}");
        }
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let given = flags(
            &[],
            &[("MICRO_REGISTRY", ""), ("MICRO_SERVER_METADATA", "")],
        );
        assert_eq!(given.expect("flags"), Flags::default());
    }

    #[test]
    fn metadata_repeats_on_the_line_and_is_split_in_the_environment() {
        let line = ["--server_metadata", "zone=a,b", "-server-metadata=k=v=w"];
        let given = flags(&line, &[])
            .expect("flags")
            .server_metadata
            .expect("metadata");
        assert_eq!(
            (given["zone"].as_str(), given["k"].as_str()),
            ("a,b", "v=w")
        );
        let variables = [("MICRO_SERVER_METADATA", "zone=a, k=v")];
        let given = flags(&[], &variables)
            .expect("flags")
            .server_metadata
            .expect("metadata");
        assert_eq!((given["zone"].as_str(), given["k"].as_str()), ("a", "v"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let variables = [
            ("MICRO_REGISTRY", "etcd://ann:S3CR3T@a"),
            ("MICRO_REGISTRY_ADDRESS", "ann:S3CR3T@a"),
            ("MICRO_REGISTRY_PASSWORD", "S3CR3T"),
        ];
        let shown = format!("{:?}", flags(&[], &variables).expect("flags"));
        assert!(!shown.contains("S3CR3T"), "{shown}");
    }

    #[test]
    fn help_shows_the_underscore_form_and_no_values() {
        let mut command = Flags::augment_args(Command::new("app"));
        let help = command.render_long_help().to_string();
        assert!(
            help.contains("--registry_address <HOST[:PORT],...>"),
            "{help}"
        );
        assert!(help.contains("[env: MICRO_REGISTRY_ADDRESS]"), "{help}");
        assert!(!help.contains("--registry_password "), "{help}");
    }
}
