//! The README's table of registries is what the drivers say of themselves.
#![cfg(all(
    feature = "memory",
    feature = "file",
    feature = "static",
    feature = "dns",
    feature = "etcd",
    feature = "zookeeper"
))]

use std::fmt::Write;
use std::path::Path;

use waypost::{Driver, Drivers};

const BEGIN: &str = "<!-- registries: ";
const END: &str = "<!-- /registries -->";

fn yes(fact: bool) -> &'static str {
    if fact { "yes" } else { "no" }
}

fn table() -> String {
    let drivers: Vec<&Driver> = Drivers::builtin().available().collect();
    let mut text = String::from(
        "| registry | what it is | address | a dead node is gone within | least ttl | other machines see it | changes are pushed | a record outlives its process |\n|---|---|---|---|---|---|---|---|\n",
    );
    for driver in &drivers {
        let facts = driver.profile;
        let gone = if facts.writable {
            format!("ttl + {:?}", facts.slack)
        } else {
            "cannot be written".to_owned()
        };
        let least = if facts.writable {
            format!("{:?}", facts.least_ttl)
        } else {
            "-".to_owned()
        };
        let address = match driver.default_address {
            "" => "none".to_owned(),
            address => format!("`{address}`"),
        };
        let outlives = if facts.writable {
            yes(!facts.owned)
        } else {
            "-"
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {address} | {gone} | {least} | {} | {} | {outlives} |",
            driver.name,
            driver.summary,
            yes(facts.remote),
            yes(facts.native_watch),
        );
    }
    text.push_str("\nOptions go into the URL's query (`etcd://a,b/prefix?timeout=2s`):\n\n");
    text.push_str("| registry | option | value | default | |\n|---|---|---|---|---|\n");
    for driver in &drivers {
        for option in driver.options {
            let default = match option.default {
                "" => String::new(),
                default => format!("`{default}`"),
            };
            let value = option.value.replace('|', "\\|");
            let _ = writeln!(
                text,
                "| `{}` | `{}` | {value} | {default} | {} |",
                driver.name, option.key, option.help
            );
        }
    }
    text
}

#[test]
fn the_table_of_registries_is_what_the_drivers_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let begin = readme.find(BEGIN).expect("begin");
    let begin = begin + readme[begin..].find('\n').expect("line") + 1;
    let end = readme.find(END).expect("end");
    let table = table();
    if readme[begin..end] == table {
        return;
    }
    let blessed = format!("{}{table}{}", &readme[..begin], &readme[end..]);
    if std::env::var_os("WAYPOST_BLESS").is_some() {
        std::fs::write(&path, blessed).expect("written");
        return;
    }
    panic!("README.md is out of date; run this test with WAYPOST_BLESS=1\n{table}");
}
