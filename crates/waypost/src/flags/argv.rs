//! The command line in the one spelling that clap is told of.

use std::ffi::{OsStr, OsString};

use super::table;

/// The arguments of this process, with go-micro's flags brought into their one spelling.
///
/// `-registry etcd`, `--registry-address=a` and `-registry_address a` become `--registry etcd`,
/// `--registry_address=a` and `--registry_address a`. Everything that is no flag of
/// [`Flags`](super::Flags) stays as it is (`-o json`, `-n`, `--dry-run`), and so does everything
/// after `--`.
#[must_use]
pub fn argv() -> Vec<OsString> {
    normalized(std::env::args_os())
}

/// [`argv`] over arguments given by the caller; the first is the program.
///
/// ```
/// let args = ["app", "-registry", "etcd", "-o", "json", "--", "-registry"];
/// let args = waypost::flags::normalized(args.map(Into::into));
/// assert_eq!(args, ["app", "--registry", "etcd", "-o", "json", "--", "-registry"]);
/// ```
#[must_use]
pub fn normalized(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut out: Vec<OsString> = args.next().into_iter().collect();
    while let Some(arg) = args.next() {
        let last = arg == "--";
        out.push(one_spelling(&arg).unwrap_or(arg));
        if last {
            out.extend(args.by_ref());
        }
    }
    out
}

fn one_spelling(arg: &OsStr) -> Option<OsString> {
    let text = arg.to_str()?;
    let body = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let (name, value) = body.split_at(body.find('=').unwrap_or(body.len()));
    let name = name.replace('-', "_");
    table::FLAGS.iter().find(|flag| flag.name == name)?;
    Some(format!("--{name}{value}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &str) -> Vec<String> {
        normalized(line.split(' ').map(OsString::from))
            .into_iter()
            .map(|arg| arg.into_string().expect("UTF-8"))
            .collect()
    }

    #[test]
    fn every_spelling_becomes_the_one_that_help_shows() {
        for (written, meant) in [
            ("app -registry etcd", "app --registry etcd"),
            ("app -registry=etcd", "app --registry=etcd"),
            ("app --registry-address a,b", "app --registry_address a,b"),
            ("app -registry-address=a=b", "app --registry_address=a=b"),
            ("app get -register_ttl 30", "app get --register_ttl 30"),
            (
                "app -server-metadata zone=a-b",
                "app --server_metadata zone=a-b",
            ),
            ("-registry -registry x", "-registry --registry x"),
        ] {
            assert_eq!(all(written).join(" "), meant);
        }
    }

    #[test]
    fn what_is_no_flag_of_ours_stays() {
        for line in [
            "app -o json",
            "app -n",
            "app -ojson",
            "app --dry-run",
            "app --registy-address a",
            "app - -- -registry --registry-address",
            "app run -- prog -registry x -- --registry-address",
            "app registry registry-address",
        ] {
            assert_eq!(all(line).join(" "), line);
        }
    }
}
