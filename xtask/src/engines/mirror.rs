//! The Debian mirror that this machine uses itself, so that nobody has to configure a second one.

use std::fs;
use std::path::{Path, PathBuf};

/// Where packages come from if the machine has no Debian mirror (Ubuntu, Fedora).
const DEFAULT: &str = "http://deb.debian.org/debian";
const SOURCES: &str = "/etc/apt/sources.list";
const MORE_SOURCES: &str = "/etc/apt/sources.list.d";

/// The first source of Debian itself.
pub(super) fn debian() -> String {
    let folder = fs::read_dir(MORE_SOURCES).into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.path()).collect();
    files.sort();
    let all = [Path::new(SOURCES).to_owned()].into_iter().chain(files);
    let mut texts = all.filter_map(|path| fs::read_to_string(path).ok());
    texts.find_map(|text| first_in(&text)).unwrap_or_else(|| DEFAULT.to_owned())
}

/// Both forms name the mirror as one word: `deb [options] URI suite …` and `URIs: URI …`.
fn first_in(text: &str) -> Option<String> {
    let lines =
        text.lines().map(str::trim).filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    let mut words = lines.flat_map(str::split_whitespace);
    let is_debian = |word: &&str| word.contains("://") && word.trim_end_matches('/').ends_with("/debian");
    words.find(is_debian).map(|uri| uri.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(first_in(text).as_deref(), expected);
    }

    #[test]
    fn both_forms_of_sources_are_read() {
        check(
            "deb [signed-by=/x] https://mirror.example/debian/ bookworm main\n",
            Some("https://mirror.example/debian"),
        );
        check("Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\n", Some(DEFAULT));
    }

    #[test]
    fn other_peoples_packages_and_security_updates_are_no_mirror() {
        check("deb http://deb.debian.org/debian-security bookworm-security main", None);
        check(
            "# deb http://deb.debian.org/debian bookworm main\nURIs: http://archive.ubuntu.com/ubuntu",
            None,
        );
    }
}
