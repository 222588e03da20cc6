//! What somebody may have meant who wrote a name that nothing has.

/// How alike two names must be to be worth a question (Jaro-Winkler, 0 to 1).
const ALIKE_MIN: f64 = 0.7;
/// More names than this are not listed: the list would hide the sentence before it.
const LISTED_MAX: usize = 20;

/// The hint for an unknown name: the one that was probably meant, and what there is.
pub(crate) fn suggest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let likeness = |name: &&str| strsim::jaro_winkler(wrong, name);
    let best = names.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let listed = names[..names.len().min(LISTED_MAX)].join(", ");
    let listed = match names.len().saturating_sub(LISTED_MAX) {
        0 => listed,
        more => format!("{listed}, and {more} more"),
    };
    match best.filter(|best| likeness(best) >= ALIKE_MIN) {
        Some(best) => format!("did you mean {best}? there are: {listed}"),
        None => format!("there are: {listed}"),
    }
}
