//! The waypost command as a library, over any table of registries.
//!
//! A binary with a registry of its own is as long as this; `--registry=mine` then chooses it:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! # const MINE: waypost::Driver = waypost::Driver {
//! #     name: "mine",
//! #     summary: "",
//! #     default_port: None,
//! #     default_address: "",
//! #     profile: waypost::Profile {
//! #         driver: "mine", least_ttl: std::time::Duration::ZERO, slack: std::time::Duration::ZERO,
//! #         writable: false, owned: false, tells_loss: false, native_watch: false, remote: false,
//! #         names_itself: true, one_step: true, writes_at_once: 256,
//! #     },
//! #     options: &[],
//! #     connect: |_| Box::pin(std::future::ready(Err(waypost::Error::config("an example")))),
//! # };
//! fn main() -> ExitCode {
//!     waypost_cli::run(waypost::Drivers::builtin().with(&MINE))
//! }
//! ```
//!
//! Data goes to the standard output and nothing else does; what is said to people goes to the
//! standard error. Exit codes: 0 done, 1 the answer is no, 2 wrong usage or bad input, 3 the
//! registry was not reached or refused, 124 the deadline passed, 130 interrupted.

mod app;
mod arguments;
mod clock;
mod command;
mod failure;
mod feed;
mod input;
mod keeping;
mod names;
mod output;
mod session;
mod signals;
mod style;
mod supervise;
mod table;
mod yaml;

pub use app::run;
