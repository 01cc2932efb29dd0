//! `waypost completions SHELL` and `waypost man`

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::failure::{Failure, OK, Outcome};
use crate::session::Session;

pub(super) fn completions(session: &Session, shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "waypost", &mut script);
    print(session, script)
}

pub(super) fn man(session: &Session) -> Outcome {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
    print(session, page)
}

fn print(session: &Session, bytes: Vec<u8>) -> Outcome {
    let text = String::from_utf8(bytes).map_err(Failure::no)?;
    session.output.data(&text)?;
    Ok(OK)
}
