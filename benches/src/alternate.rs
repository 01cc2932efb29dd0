//! Peer and ours, in turns.

use anyhow::Result;

use crate::clock::Stopwatch;
use crate::series::Series;

/// What one side of a comparison showed, a value a round.
#[derive(Debug)]
pub(crate) struct Side {
    /// Operations a second.
    pub(crate) rate: Series,
    /// Microseconds of this process's CPU an operation.
    pub(crate) cpu: Series,
}

#[derive(Debug, Default)]
struct Taken {
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

impl Taken {
    async fn take(
        &mut self,
        operations: usize,
        work: &mut impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        let operations = operations as f64;
        let watch = Stopwatch::start();
        work().await?;
        let (seconds, cpu) = (watch.seconds(), watch.cpu_micros());
        self.rate.push(operations / seconds);
        self.cpu.push(cpu / operations);
        Ok(())
    }

    fn side(self) -> Side {
        Side {
            rate: Series::new(self.rate),
            cpu: Series::new(self.cpu),
        }
    }
}

/// Runs both in turns, `rounds` times each after one that does not count; either does `operations`
/// operations a turn. Returns the peer's side first.
pub(crate) async fn alternate(
    rounds: usize,
    operations: usize,
    mut peer: impl AsyncFnMut() -> Result<()>,
    mut ours: impl AsyncFnMut() -> Result<()>,
) -> Result<(Side, Side)> {
    peer().await?;
    ours().await?;
    let (mut a, mut b) = (Taken::default(), Taken::default());
    for _ in 0..rounds {
        a.take(operations, &mut peer).await?;
        b.take(operations, &mut ours).await?;
    }
    Ok((a.side(), b.side()))
}
