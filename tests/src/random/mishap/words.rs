//! Mishaps in words.

use std::fmt;

use super::{Millis, Mishap, Trouble, Whose, node};

fn seconds(millis: Millis) -> String {
    format!("{}.{:03} s", millis / 1000, millis % 1000)
}

fn name(writer: usize) -> &'static str {
    ["agent-a", "agent-b", "agent-c"][writer.min(2)]
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasts = seconds(self.lasts());
        match *self {
            Self::Killed { writer, .. } => {
                write!(f, "{} is killed and dead for {lasts}", name(writer))
            }
            Self::Replaced { writer } => {
                write!(f, "{} is killed and started again at once", name(writer))
            }
            Self::Terminated { writer, .. } => {
                let name = name(writer);
                write!(f, "{name} is told to end and started after {lasts}")
            }
            Self::Stopped { writer, .. } => write!(f, "{} stands still for {lasts}", name(writer)),
            Self::ServerKilled { .. } => write!(f, "the server is killed and dead for {lasts}"),
            Self::ServerPaused { .. } => write!(f, "the server stands still for {lasts}"),
            Self::ServerWiped => f.write_str("the server forgets everything"),
            Self::Deleted { writer, which } => {
                write!(f, "{} is deleted by hand", node(writer, which))
            }
            Self::LeaseEnded { writer, which } => {
                write!(f, "the lease of {} is ended by hand", node(writer, which))
            }
            Self::Network { whose, trouble, .. } => write!(f, "{whose} {trouble} for {lasts}"),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writer => "agent-a's connections",
            Self::Directories => "the directories' connections",
            Self::Watches => "the watches' connections",
            Self::Everybody => "everybody's connections",
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Held => f.write_str("are silent"),
            Self::Reset => f.write_str("are reset"),
            Self::Refused => f.write_str("are refused"),
            Self::Late(by) => write!(f, "are {} late", seconds(by)),
            Self::Narrow(rate) => write!(f, "carry {rate} B/s"),
            Self::Sliced(size) => write!(f, "carry slices of {size} B"),
            Self::Cut(bytes) => write!(f, "end after {bytes} B"),
        }
    }
}
