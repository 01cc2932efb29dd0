//! Drawing by weight in one step: the alias method of Walker, with Vose's way of filling the table.

use std::sync::Arc;

/// Vose's tables: at place `i`, a draw of 32 bits below the threshold means `i`, else the alias.
pub(crate) fn table(weights: &[f64]) -> Arc<[(u32, u32)]> {
    let count = weights.len();
    let sum: f64 = weights.iter().sum();
    let mut scaled: Vec<f64> = weights.iter().map(|w| w * count as f64 / sum).collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..count).partition(|index| scaled[*index] < 1.0);
    let mut table = vec![(u32::MAX, 0_u32); count];
    while let (Some(less), Some(more)) = (small.pop(), large.last().copied()) {
        table[less] = ((scaled[less] * 4_294_967_296.0) as u32, more as u32);
        scaled[more] -= 1.0 - scaled[less];
        if scaled[more] < 1.0 {
            large.pop();
            small.push(more);
        }
    }
    // Whoever is left has a full place; rounding alone could say otherwise.
    for index in small.into_iter().chain(large) {
        table[index] = (u32::MAX, index as u32);
    }
    table.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alias_table_gives_each_its_weight() {
        for weights in [
            vec![1.0],
            vec![1.0, 3.0],
            vec![0.1, 10.0, 5.0, 5.0, 0.0],
            vec![1e-9, 1e6],
        ] {
            let table = table(&weights);
            let mut shares = vec![0.0; weights.len()];
            for (index, (threshold, other)) in table.iter().enumerate() {
                let own = f64::from(*threshold) / 4_294_967_296.0;
                shares[index] += own;
                shares[*other as usize] += 1.0 - own;
            }
            let sum: f64 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(&weights) {
                let (share, due) = (share / weights.len() as f64, weight / sum);
                assert!((share - due).abs() < 1e-6, "{weights:?}: {share} for {due}");
            }
        }
    }
}
