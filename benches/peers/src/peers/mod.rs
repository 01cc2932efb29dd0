//! Other pickers, each used as its own documentation does.

mod copied;
pub(crate) mod pingora;
mod tower;
pub(crate) mod volo;

use anyhow::Result;

use crate::measure::Contender;

pub(crate) const TOWER_EWMA: &str = "tower p2c PeakEwma, ready + call";
pub(crate) const VOLO_WEIGHTED: &str = "volo WeightedRandom";

/// All of them over `count` nodes.
pub(crate) fn contenders(count: usize) -> Result<Vec<Contender>> {
    let mut all = vec![volo::weighted(count)?, volo::hashed(count)?];
    all.extend(pingora::contenders(count)?);
    all.extend(tower::contenders(count));
    all.push(copied::contender(count));
    Ok(all)
}
