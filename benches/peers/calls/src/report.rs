//! What was measured: as tables and as JSON.

use std::io::Write;

use serde_json::{Value, json};
use waypost_figures::Figures;

use crate::rounds::Shown;
use crate::turn::IN_FLIGHT;

/// Everything of one run.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) calls: u64,
    pub(crate) shown: Vec<Shown>,
}

impl Calls {
    /// How often the floor's CPU time each one takes.
    fn over_floor(&self, one: &Shown) -> f64 {
        let floor = self
            .shown
            .iter()
            .find(|floor| floor.mode == one.mode.floor());
        floor.map_or(f64::NAN, |floor| one.over(floor, |turn| turn.cpu).median())
    }
}

impl Figures for Calls {
    fn json(&self) -> Value {
        let one = |one: &Shown| {
            json!({
                "name": one.mode.name(),
                "title": one.mode.title(),
                "cpu_us": one.all(|turn| turn.cpu).json(),
                "times_floor": self.over_floor(one),
                "differs_from_itself": one.doubt(),
                "calls_per_second": one.all(|turn| turn.rate).json(),
                "p50_us": one.all(|turn| turn.median).json(),
                "p99_us": one.all(|turn| turn.slowest_hundredth).json(),
                "turns": one.passes,
            })
        };
        json!({
            "in_flight": IN_FLIGHT,
            "calls_a_turn": self.calls,
            "calls": self.shown.iter().map(one).collect::<Vec<_>>(),
        })
    }

    fn table(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let turns = self.shown.first().map_or(0, |one| one.passes[0].len() * 2);
        writeln!(
            out,
            "CPU µs a call of the calling thread, {IN_FLIGHT} in flight, {turns} turns of {} calls each",
            self.calls
        )?;
        writeln!(
            out,
            "  {:46} {:>6} {:>6} {:>8} {:>6} {:>9} {:>7} {:>7}",
            "", "median", "least", "x floor", "A/A", "calls/s", "p50 µs", "p99 µs"
        )?;
        for one in &self.shown {
            let cpu = one.all(|turn| turn.cpu);
            writeln!(
                out,
                "  {:46} {:6.2} {:6.2} {:8.3} {:4.1} % {:9.0} {:7.0} {:7.0}",
                one.mode.title(),
                cpu.median(),
                cpu.min(),
                self.over_floor(one),
                one.doubt() * 100.0,
                one.all(|turn| turn.rate).median(),
                one.all(|turn| turn.median).median(),
                one.all(|turn| turn.slowest_hundredth).median(),
            )?;
        }
        Ok(())
    }
}
