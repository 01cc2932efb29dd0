//! Records that somebody hostile wrote among the good ones.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use waypost_core::{Directory, DirectoryOptions};

use crate::backend::Consul;
use crate::bounds::{Bound, EPSILON, bound};
use crate::house::{House, Shape, has, service};
use crate::impostor::zeros;
use crate::observe::Set;
use crate::{Result, ensure};

use super::super::{Fault, memory, patience, seconds};
use super::{machine, record};

/// What the bomb unpacks to, in MiB.
const UNPACKED: usize = 286;
/// How often it is written anew, so that everybody reads it again.
const TIMES: usize = 8;
const EACH: Duration = Duration::from_millis(400);

pub(super) fn faults() -> Vec<Fault<Consul>> {
    vec![
        Fault {
            name: "F36_hostile_records_among_good_ones",
            law: "broken tags are passed over, records without an address are skipped, and no good \
                  record is hidden",
            bound: bound!(EPSILON),
            shape: Shape::PLAIN,
            run: |house| Box::pin(hostile(house)),
        },
        Fault {
            name: "F36_tag_that_unpacks_to_300_MB",
            law: "a tag that unpacks to 300 MB costs a process no memory",
            bound: Bound {
                formula: "8 MB",
                limit: 8.0,
                unit: "MB",
            },
            shape: Shape {
                follow: true,
                ..Shape::PLAIN
            },
            run: |house| Box::pin(bombed(house)),
        },
    ]
}

/// A tag of half a million digits that unpacks to 300 MB.
fn bomb() -> String {
    let packed = zeros(true, UNPACKED);
    packed.iter().fold("e-".to_owned(), |mut tag, byte| {
        let _ = write!(tag, "{byte:02x}");
        tag
    })
}

/// Records that are kept without what is broken in them.
fn kept() -> Vec<Value> {
    let tags = [
        "e",
        "t",
        "v",
        "e-",
        "e-zz",
        "t-abc",
        "e={\"name\":",
        "t=[]",
        "v-ff",
        "\u{0}",
        "",
    ];
    let one = |(place, tag): (usize, &&str)| {
        let mut record = record(&format!("odd-{place:02}"), place);
        record["Tags"] = json!([tag, "v=1"]);
        record
    };
    tags.iter().enumerate().map(one).collect()
}

/// Records that nobody can call.
fn skipped() -> Vec<Value> {
    let one = |(place, (host, port)): (usize, &(&str, i64))| {
        let mut record = record(&format!("nowhere-{place:02}"), place);
        record["Address"] = json!(host);
        record["Port"] = json!(port);
        record
    };
    let all = [
        ("127.0.0.1", 0),
        ("127.0.0.1", -1),
        ("127.0.0.1", 70_000),
        ("user@evil", 80),
        ("http://x/", 80),
        ("a b", 80),
    ];
    all.iter().enumerate().map(one).collect()
}

async fn hostile(house: &mut House<Consul>) -> Result<f64> {
    let machine = machine("hostile");
    let (kept, skipped) = (kept(), skipped());
    let odd = [&kept[..], &skipped[..]].concat();
    house.backend.plant(&machine, &odd).await?;
    let mut bombed = record("bombed", 90);
    bombed["Tags"] = json!([bomb(), "v=1"]);
    house.backend.put(&machine, &bombed).await?;
    let all = 6 + kept.len() + 1;
    house
        .all_see("the odd ones", patience(EPSILON), |set| {
            set.len() == all && has(set, "bombed")
        })
        .await?;
    let client = house.client().await?;
    let begun = Instant::now();
    let listed = client.lookup(&service()).await?;
    let directory = Directory::new(client.clone(), DirectoryOptions::new());
    let members = directory.follow(service()).await?.members().len();
    let took = begun.elapsed();
    ensure((listed.len(), members) == (all, all), || {
        let listed = listed.len();
        format!("of {all} records a lookup has {listed} and a directory {members}")
    })?;
    let found = listed.iter().find(|one| one.node.id.as_str() == "bombed");
    ensure(
        found.is_some_and(|one| one.version == "1"),
        || "the good tag beside the bomb was not read",
    )?;
    let counted = client.skipped().total();
    let least = u64::try_from(skipped.len() + 1)?;
    ensure(counted >= least, || {
        format!("{counted} were counted, and {least} at least are broken")
    })?;
    uproot(house, &machine).await?;
    seconds(took)
}

async fn bombed(house: &mut House<Consul>) -> Result<f64> {
    let (machine, bomb) = (machine("hostile"), bomb());
    let pid = house.agents[0].pid().ok_or("the agent has ended")?;
    let before = memory(pid, "VmRSS:")?;
    // The kernel's account of the peak begins anew.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    for turn in 0..TIMES {
        let mut record = record("bombed", 90);
        record["Tags"] = json!([bomb, "v=1"]);
        record["Meta"] = json!({"turn": turn.to_string()});
        house.backend.put(&machine, &record).await?;
        let turn = turn.to_string();
        let is_there = |set: &Set| {
            let found = set.iter().find(|(id, _)| id.as_str() == "bombed");
            found.is_some_and(|(_, one)| one.node.metadata.get("turn") == Some(&turn))
        };
        house
            .all_see("the bombed one", patience(EPSILON), is_there)
            .await?;
        sleep(EACH).await;
    }
    let grown = memory(pid, "VmHWM:")?.saturating_sub(before) as f64 / 1000.0;
    uproot(house, &machine).await?;
    Ok(grown)
}

async fn uproot(house: &House<Consul>, machine: &str) -> Result<()> {
    house.backend.uproot(machine).await?;
    let six = |set: &Set| set.len() == 6;
    house.all_see("six nodes", patience(EPSILON), six).await?;
    house.bystanders_stay(0)
}
