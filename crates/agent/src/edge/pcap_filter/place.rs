//! Where in a filter the thing is of which libpcap complains: it gives words, no place.

use std::ops::Range;

/// The one word of the filter that the message quotes, if it is there once.
pub(super) fn find(text: &str, message: &str) -> Option<Range<usize>> {
    let quoted = message.split(['\'', '"']).skip(1).step_by(2);
    let bare = message.rsplit([' ', ':']).filter(|word| word.len() > 1);
    quoted.chain(bare).find_map(|said| once(text, said.trim()))
}

/// Whether the filter has this word.
pub(super) fn speaks_of(text: &str, word: &str) -> bool {
    words(text).any(|range| text[range].eq_ignore_ascii_case(word))
}

/// libpcap's words, and the filter with a mark below the place.
pub(super) fn told(text: &str, message: &str, place: Option<&Range<usize>>) -> String {
    let told = format!("filter: {message}\n  {}", text.replace(char::is_control, " "));
    let Some(place) = place else { return told };
    let before = text.get(..place.start).unwrap_or_default().chars().count();
    let marked = text.get(place.clone()).unwrap_or_default().chars().count();
    format!("{told}\n  {}{}", " ".repeat(before), "^".repeat(marked.max(1)))
}

fn once(text: &str, said: &str) -> Option<Range<usize>> {
    let mut found = words(text).filter(|range| !said.is_empty() && &text[range.clone()] == said);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The words of a filter: what stands between spaces, brackets and operators.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let parts = text.split(|at: char| at.is_whitespace() || "()[]!&|<>=".contains(at));
    parts.filter(|part| !part.is_empty()).map(|part| {
        let start = part.as_ptr().addr() - text.as_ptr().addr();
        start..start + part.len()
    })
}
