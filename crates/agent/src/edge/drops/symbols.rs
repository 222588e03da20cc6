//! The names of the kernel's functions by addresses in them (`/proc/kallsyms`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

/// Lines that are read: five times as many symbols as a kernel with all its modules has.
const SYMBOLS_MAX: usize = 1_000_000;

/// The functions in which these addresses are. None of an address where the kernel hides its symbols
/// (`kernel.kptr_restrict`).
pub(super) fn names(addresses: impl Iterator<Item = u64>) -> BTreeMap<u64, String> {
    // For each address the nearest function below, as far as was read.
    let mut nearest: BTreeMap<u64, (u64, String)> =
        addresses.map(|address| (address, (0, String::new()))).collect();
    if nearest.is_empty() {
        return BTreeMap::new();
    }
    if let Ok(file) = File::open("/proc/kallsyms") {
        for line in BufReader::new(file).lines().map_while(Result::ok).take(SYMBOLS_MAX) {
            consider(&mut nearest, &line);
        }
    }
    let known = nearest.into_iter().filter(|(_, (start, _))| *start > 0);
    known.map(|(address, (_, name))| (address, name)).collect()
}

/// `ffffffff81000000 T name [module]`.
fn consider(nearest: &mut BTreeMap<u64, (u64, String)>, line: &str) {
    let mut words = line.split_whitespace();
    let (Some(start), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else { return };
    let Ok(start) = u64::from_str_radix(start, 16) else { return };
    if start == 0 || !matches!(kind, "t" | "T" | "w" | "W") {
        return;
    }
    for (_, best) in nearest.range_mut(start..).filter(|(_, best)| best.0 < start) {
        *best = (start, name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_nearest_function_below_it() {
        let mut nearest: BTreeMap<u64, (u64, String)> =
            [0x150, 0x50, 0x250].map(|address| (address, (0, String::new()))).into();
        for line in [
            "0000000000000200 T ip_rcv",
            "0000000000000100 t ip_forward\t[mod]",
            "0000000000000140 D data",
            "broken",
        ] {
            consider(&mut nearest, line);
        }
        let names: Vec<&str> = nearest.values().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["", "ip_forward", "ip_rcv"]);
    }
}
