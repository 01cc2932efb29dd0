//! Leases, registration, watches and the directory: on real servers beside their bare clients, and in
//! memory.

mod bare;
mod change;
mod event;
mod fanout;
mod register;
mod renew;
mod server;
mod setting;
pub(crate) mod steady;

use std::io;

use anyhow::Result;

use crate::report::{Report, Row};

use self::bare::{Consul, Etcd, ZooKeeper};
use self::server::Server;
use self::setting::Setting;

/// What to measure, and how much of it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// One JSON object on standard output; the table goes to standard error.
    #[arg(long)]
    json: bool,
    /// Fail when a goal is missed.
    #[arg(long)]
    check: bool,
    /// Only these measurements.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measurement>,
    /// Rounds of peer and ours.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Instances of the process, and nodes of the service.
    #[arg(long, default_value_t = 10_000)]
    nodes: usize,
    /// Seconds over which the CPU of the steady state is measured.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measurement {
    /// Renewing leases, against one raw keep-alive stream.
    Renew,
    /// A change in the directory, event by event against a bare client, on each server.
    Event,
    /// Many subscribers of one service, against one bare client, on each server.
    Fanout,
    /// CPU of one change of a large service, and a burst.
    Change,
    /// CPU of keeping instances registered.
    Steady,
    /// Registering, against raw pairs of grant and put.
    Register,
}

impl Measurement {
    /// Keeping last: the leases that it leaves expire at the server half a minute later.
    const ALL: [Self; 6] = [
        Self::Renew,
        Self::Event,
        Self::Fanout,
        Self::Change,
        Self::Register,
        Self::Steady,
    ];

    async fn run(self, setting: &Setting) -> Result<Vec<Row>> {
        match self {
            Self::Renew => renew::measure(setting).await,
            Self::Event => {
                let mut rows = event::measure(Etcd::open(setting).await?).await?;
                rows.extend(event::measure(ZooKeeper::open().await?).await?);
                rows.extend(event::measure(Consul::open().await?).await?);
                Ok(rows)
            }
            Self::Fanout => {
                let mut rows = fanout::measure(Etcd::open(setting).await?).await?;
                rows.extend(fanout::measure(ZooKeeper::open().await?).await?);
                rows.extend(fanout::measure(Consul::open().await?).await?);
                Ok(rows)
            }
            Self::Change => change::measure(setting).await,
            Self::Steady => steady::measure(setting).await,
            Self::Register => register::measure(setting).await,
        }
    }
}

/// Measures and reports; whether all is as `options` demand.
pub(crate) async fn run(options: Options) -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("cargo xtask bench {}", arguments.join(" "));
    let mut report = Report::begin("registry", command);
    let setting = Setting {
        server: Server::start().await?,
        rounds: options.rounds,
        nodes: options.nodes,
        seconds: options.seconds,
    };
    for measurement in Measurement::ALL {
        if options.only.is_empty() || options.only.contains(&measurement) {
            eprintln!("{measurement:?} ...");
            report.add(measurement.run(&setting).await?);
        }
    }
    if options.json {
        report.table(&mut io::stderr().lock())?;
        println!("{}", report.json());
    } else {
        report.table(&mut io::stdout().lock())?;
    }
    Ok(!options.check || report.is_good())
}
