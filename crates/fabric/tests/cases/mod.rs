//! Runs test cases that are files: a folder, each file with an input and the outcome that it must have.
//!
//! A case is text in sections, each below a line `--- its name`; the last section is the expected outcome.
//! With `BYWAY_BLESS=1` in the environment the outcomes are written anew, to be read in the diff.

#![expect(clippy::disallowed_methods, reason = "tests read their cases from files")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// Runs every file in `folder` (below `tests/`) through `run`, which gets the input sections by name.
pub(crate) fn run(folder: &str, run: impl Fn(&Case) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    let wrong: Vec<String> = files.iter().filter_map(|file| check(file, &run)).collect();
    assert!(wrong.is_empty(), "{} of {} cases failed\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

/// The input of one case.
pub(crate) struct Case(Vec<(String, String)>);

impl Case {
    /// The text of a section.
    pub(crate) fn section(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(title, _)| title == name);
        found.map_or_else(|| panic!("no section {name}"), |(_, text)| text)
    }
}

fn check(file: &Path, run: &impl Fn(&Case) -> String) -> Option<String> {
    let text = fs::read_to_string(file).unwrap();
    let (input, expected) = text.rsplit_once("\n--- ").expect("a case ends with an outcome");
    let (title, expected) = expected.split_once('\n').unwrap_or((expected, ""));
    let got = run(&Case(sections(&format!("{input}\n"))));
    if got == expected {
        return None;
    }
    if std::env::var_os("BYWAY_BLESS").is_some() {
        fs::write(file, format!("{input}\n--- {title}\n{got}")).unwrap();
    }
    Some(format!("=== {}\n--- expected\n{expected}--- got\n{got}", file.display()))
}

fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("--- "), sections.last_mut()) {
            (Some(title), _) => sections.push((title.trim_end().to_owned(), String::new())),
            (None, Some((_, section))) => section.push_str(line),
            (None, None) => panic!("a case starts with `--- its section`"),
        }
    }
    sections
}
