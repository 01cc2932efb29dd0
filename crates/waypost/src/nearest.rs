//! What somebody may have meant.

/// The candidate that is most like `word`, if one is like enough to be a typing mistake.
///
/// ```
/// assert_eq!(waypost::nearest("ordrs", ["users", "orders"]), Some("orders"));
/// assert_eq!(waypost::nearest("zebra", ["users", "orders"]), None);
/// ```
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness =
        |candidate: &str| strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
