//! The same select many times over in a union is one in a digest: `select ? /*repeat union all*/`.

/// How often two selects are compared for one statement: enough for a union of hundreds, and no hostile statement
/// takes longer.
const COMPARISONS_MAX: usize = 2_048;

const SELECT: &[u8] = b"select ";
const UNION: &[u8] = b" union ";
const ALL: &[u8] = b"all ";

/// What may follow the last of them; anything else is part of a select that differs.
const AFTER: [&[u8]; 5] = [b")", b";", b" union ", b" order by ", b" limit "];

/// Collapses what repeats in `out`, from a place in it on.
pub(super) fn collapse_unions(out: &mut Vec<u8>, start: usize) {
    let mut comparisons = 0;
    let mut from = start;
    // Ends: every step goes on by at least a byte.
    while let Some(select) = find_word(out, from, SELECT) {
        from = select + 1;
        let mut union = find(out, from, UNION);
        while let Some(at) = union
            && comparisons < COMPARISONS_MAX
        {
            comparisons += 1;
            if let Some(repeat) = repeats(out, select, at) {
                let mark = format!(" /*repeat{}*/", if repeat.is_all { " union all" } else { " union" });
                out.splice(at..repeat.end, mark.bytes());
                from = at + mark.len();
                break;
            }
            union = find(out, at + 1, UNION);
        }
    }
}

/// How far a select repeats.
struct Repeat {
    end: usize,
    /// Whether the last one stands after `union all`.
    is_all: bool,
}

/// How often what stands from `select` to `union` comes again.
fn repeats(out: &[u8], select: usize, union: usize) -> Option<Repeat> {
    let body = out.get(select..union)?;
    let mut last = None;
    let mut at = union;
    // Ends: every step goes on by the length of a union.
    while let Some(rest) = out.get(at..).and_then(|rest| rest.strip_prefix(UNION)) {
        let is_all = rest.starts_with(ALL);
        let next = if is_all { &rest[ALL.len()..] } else { rest };
        let Some(after) = next.strip_prefix(body) else { break };
        if !after.is_empty() && !AFTER.iter().any(|allowed| after.starts_with(allowed)) {
            break;
        }
        at = out.len() - after.len();
        last = Some(Repeat { end: at, is_all });
    }
    last
}

fn find(out: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = out.get(from..)?;
    rest.windows(what.len()).position(|window| window == what).map(|at| from + at)
}

fn find_word(out: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let mut at = find(out, from, what)?;
    // Ends: every step finds a later place.
    while at > from && out.get(at - 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        at = find(out, at + 1, what)?;
    }
    Some(at)
}
