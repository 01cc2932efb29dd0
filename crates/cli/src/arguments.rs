//! What can be typed.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;
use waypost::flags::{Flags, parse_duration};

use crate::output::Format;
use crate::supervise::{Restart, Url};

const EXAMPLES: &str = "\
Examples:
  waypost demo                                   see a node vanish and another one join
  waypost run --name orders --port 8080 -- ./orders
  waypost services
  waypost get orders -o json
  waypost watch --registry=etcd --registry_address=10.0.0.1:2379,10.0.0.2:2379
  waypost doctor --registry=etcd://10.0.0.1,10.0.0.2

Exit codes:
    0  done
    1  the answer is no: not found, something failed
    2  wrong usage or bad input
    3  the registry was not reached, or refused
  124  the deadline (--timeout) passed
  130  interrupted";

/// Register services and find them, in any registry.
#[derive(Debug, Parser)]
#[command(name = "waypost", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// How to write data
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        global = true
    )]
    pub(crate) output: Format,
    /// The same as -o json
    #[arg(long, global = true)]
    json: bool,
    /// Never paint
    #[arg(long = "no-color", alias = "no_color", global = true)]
    pub(crate) no_color: bool,
    /// Give up after this long (exit code 124)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, global = true)]
    pub(crate) timeout: Option<Duration>,
}

impl Common {
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the services that have a live node
    Services,
    /// Show the nodes of a service
    Get(Named),
    /// Show everything that is known of a service
    Describe(Named),
    /// Follow a service, or all of them, as they change
    Watch {
        /// Name of a service
        name: Option<String>,
    },
    /// Register a service and keep it registered until interrupted
    Register(Register),
    /// Remove a node's record, whoever wrote it
    Deregister {
        /// Name of the service, then id of the node; or `service` and JSON
        #[arg(num_args = 2, value_names = ["NAME", "NODE"])]
        what: Vec<String>,
    },
    /// Run a program, registered while it lives and is healthy
    Run(Box<Run>),
    /// Check the set-up: configuration, registry, records
    Doctor {
        /// Write nothing to the registry
        #[arg(long = "read_only", alias = "read-only")]
        read_only: bool,
    },
    /// Start three services on this machine, kill one, and watch
    Demo,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
    /// The same as `services`
    #[command(hide = true)]
    List {
        #[arg(default_value = "services", value_parser = ["services"])]
        what: String,
    },
    /// One of the services of the demo
    #[command(hide = true)]
    DemoService,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Name of the service
    #[arg(num_args = 1..=2, required = true, value_name = "NAME")]
    words: Vec<String>,
}

impl Named {
    /// The name; go-micro's users write `get service NAME`.
    ///
    /// # Errors
    /// The word that is too many.
    pub(crate) fn name(&self) -> Result<&str, String> {
        match self.words.as_slice() {
            [name] => Ok(name),
            [service, name] if service == "service" => Ok(name),
            words => Err(format!("{:?} is one name too many; give one", words.last())),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// A service as go-micro's JSON, a file that holds it, or `-` for the standard input
    #[arg(num_args = 1..=2, required = true, value_name = "JSON|FILE|-")]
    words: Vec<String>,
    /// Write the record once, with its ttl, and leave
    #[arg(long)]
    pub(crate) once: bool,
}

impl Register {
    /// The input; go-micro's users write `register service JSON`.
    ///
    /// # Errors
    /// The word that is too many.
    pub(crate) fn input(&self) -> Result<&str, String> {
        match self.words.as_slice() {
            [input] => Ok(input),
            [service, input] if service == "service" => Ok(input),
            _ => Err("one JSON text, file or `-` is wanted, not two".to_owned()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Name of the service
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Port that the program listens on
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Host that the program listens on, and that is registered (default: this machine's address
    /// on the way to the registry)
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Address to register, where it differs from host and port
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// Version of the service
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// Pair to register with the node; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, action = ArgAction::Append)]
    pub(crate) metadata: Vec<(String, String)>,
    /// URL, or path on the program's port, that answers 2xx while the program is healthy
    #[arg(long, value_name = "URL|/PATH")]
    pub(crate) health: Option<Url>,
    /// How often the program is asked
    #[arg(long = "health_interval", alias = "health-interval", value_name = "DURATION",
          value_parser = above_zero, default_value = "1s")]
    pub(crate) health_interval: Duration,
    /// How long it may take to answer
    #[arg(long = "health_timeout", alias = "health-timeout", value_name = "DURATION",
          value_parser = above_zero, default_value = "1s")]
    pub(crate) health_timeout: Duration,
    /// A program that lives but fails its checks for this long is hung
    #[arg(long = "hung_after", alias = "hung-after", value_name = "DURATION",
          value_parser = above_zero, default_value = "15s")]
    pub(crate) hung_after: Duration,
    /// How long a program may take until it is healthy for the first time
    #[arg(long = "start_timeout", alias = "start-timeout", value_name = "DURATION",
          value_parser = above_zero, default_value = "60s")]
    pub(crate) start_timeout: Duration,
    /// What to do when the program crashes or hangs: never, on-failure or on-failure:TIMES
    #[arg(long, value_name = "POLICY", default_value = "never")]
    pub(crate) restart: Restart,
    /// How long to wait before a restart
    #[arg(long = "restart_delay", alias = "restart-delay", value_name = "DURATION",
          value_parser = parse_duration, default_value = "1s")]
    pub(crate) restart_delay: Duration,
    /// How long the program may take to stop before it is killed
    #[arg(long = "stop_timeout", alias = "stop-timeout", value_name = "DURATION",
          value_parser = parse_duration, default_value = "10s")]
    pub(crate) stop_timeout: Duration,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("is no key=value".to_owned()),
    }
}

fn above_zero(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be above 0".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_are_taken_before_and_after_the_command() {
        for line in [
            "waypost -o json --registry etcd get orders",
            "waypost get orders --registry etcd -o json",
            "waypost --registry etcd get --json orders",
            "waypost get -o json service orders --registry=etcd",
        ] {
            let arguments = Arguments::try_parse_from(line.split(' ')).expect(line);
            assert_eq!(arguments.common.format(), Format::Json, "{line}");
            let registry = arguments.flags.registry.expect("registry");
            assert_eq!(registry.text(), "etcd");
            let Command::Get(named) = arguments.command else {
                panic!("{line}");
            };
            assert_eq!(named.name(), Ok("orders"));
        }
    }

    #[test]
    fn go_micros_forms_are_taken_and_extra_words_are_not() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(matches!(
            parse("waypost list services"),
            Ok(Arguments {
                command: Command::List { .. },
                ..
            })
        ));
        for (line, good) in [("waypost get service", true), ("waypost get a b", false)] {
            let Ok(Arguments {
                command: Command::Get(named),
                ..
            }) = parse(line)
            else {
                panic!("{line}");
            };
            assert_eq!(named.name().is_ok(), good, "{line}");
        }
    }
}
