//! What was measured: as tables and as JSON.

use std::io::Write;

use serde_json::{Value, json};
use waypost_figures::Figures;

use crate::measure::Shown;
use crate::moved::Moved;
use crate::rebuild::Rebuilt;

/// Everything of one number of nodes.
#[derive(Debug)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) alone: Vec<Shown>,
    pub(crate) together: Vec<Shown>,
}

pub(crate) fn min_of(shown: &[Shown], name: &str) -> f64 {
    let found = shown.iter().find(|one| one.name == name);
    found.map_or(f64::NAN, |one| one.cpu.min())
}

/// Everything of one run.
#[derive(Debug)]
pub(crate) struct Picks {
    pub(crate) sizes: Vec<Size>,
    pub(crate) rebuilt: Vec<Rebuilt>,
    pub(crate) moved: Vec<Moved>,
}

impl Figures for Picks {
    fn json(&self) -> Value {
        let shown = |all: &[Shown]| -> Vec<Value> {
            let one = |one: &Shown| json!({ "name": one.name, "ns": one.cpu.json(), "allocations": one.allocations });
            all.iter().map(one).collect()
        };
        json!({
            "picks": self.sizes.iter().map(|size| json!({
                "nodes": size.nodes,
                "one_thread": shown(&size.alone),
                "two_threads": shown(&size.together),
            })).collect::<Vec<_>>(),
            "rebuild_us": self.rebuilt.iter().map(|one| json!({
                "name": one.name, "nodes": one.nodes, "us": one.cpu.json(),
            })).collect::<Vec<_>>(),
            "keys_moved": self.moved.iter().map(|one| json!({
                "name": one.name, "nodes": one.nodes, "part": one.part,
            })).collect::<Vec<_>>(),
        })
    }

    fn table(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(
            out,
            "CPU ns a pick, least (median); one thread | two pinned threads"
        )?;
        for size in &self.sizes {
            writeln!(out, "{} nodes", size.nodes)?;
            for one in &size.alone {
                let two = size.together.iter().find(|two| two.name == one.name);
                let two = two.map_or_else(
                    || "-".to_owned(),
                    |two| format!("{:.1} ({:.1})", two.cpu.min(), two.cpu.median()),
                );
                let (least, median) = (one.cpu.min(), one.cpu.median());
                let (name, allocations) = (one.name, one.allocations);
                writeln!(
                    out,
                    "  {name:52} {least:10.1} ({median:10.1}) | {two:>22} | {allocations:.2} allocations"
                )?;
            }
        }
        writeln!(
            out,
            "\nCPU µs from one changed node to the next pick, least (median)"
        )?;
        for one in &self.rebuilt {
            let (least, median) = (one.cpu.min(), one.cpu.median());
            writeln!(
                out,
                "  {:34} {:6} nodes {least:10.1} ({median:.1})",
                one.name, one.nodes
            )?;
        }
        writeln!(out, "\nkeys that move when one node leaves")?;
        for one in &self.moved {
            let times = one.part * one.nodes as f64;
            writeln!(
                out,
                "  {:34} {:6} nodes {:8.3} % = {times:.2}/N",
                one.name,
                one.nodes,
                one.part * 100.0
            )?;
        }
        Ok(())
    }
}
