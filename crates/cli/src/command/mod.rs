//! The commands, one file each.

mod demo;
mod deregister;
mod describe;
mod doctor;
mod get;
mod register;
mod run;
mod services;
mod shell;
mod watch;

use crate::arguments::Command;
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::signals::Signals;

/// Performs one command.
///
/// What has something to put in order at its end takes its signals itself; everything else ends at
/// the first one, or when its deadline passes.
pub(crate) async fn perform(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Register(register) if !register.once => register::hold(session, &register).await,
        Command::Run(arguments) => run::run(session, &arguments).await,
        Command::Demo => demo::play(session).await,
        Command::DemoService => demo::serve(session).await,
        command => interruptible(session, command).await,
    }
}

async fn interruptible(session: &Session, command: Command) -> Outcome {
    let mut signals = Signals::take()?;
    tokio::select! {
        outcome = session.within(answer(session, command)) => outcome,
        signal = signals.ending() => {
            let code = 128 + signal.as_raw();
            Err(Failure::silent(u8::try_from(code).unwrap_or(1)))
        }
    }
}

async fn answer(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Services | Command::List { .. } => services::services(session).await,
        Command::Get(named) => get::get(session, named.name().map_err(Failure::usage)?).await,
        Command::Describe(named) => {
            describe::describe(session, named.name().map_err(Failure::usage)?).await
        }
        Command::Watch { name } => watch::watch(session, name.as_deref()).await,
        Command::Register(register) => register::once(session, &register).await,
        Command::Deregister { what } => deregister::deregister(session, &what).await,
        Command::Doctor { read_only } => doctor::doctor(session, read_only).await,
        Command::Completions { shell } => shell::completions(session, shell),
        Command::Man => shell::man(session),
        Command::Run(_) | Command::Demo | Command::DemoService => {
            Err(Failure::no("this command takes its signals itself"))
        }
    }
}
