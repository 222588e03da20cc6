//! Of all statements those that somebody looks for: the slow ones, and those that the server refused.

use std::process::Command;

use crate::common::BYWAY;
use crate::rig::script::{Cast, SCRIPTS, Script};
use crate::rig::stage::{Road, Stage};
use crate::rig::told::{Text, Told};

const SLOW: &str = "select sleep(0.3)";
const REFUSED: &str = "select nonsense from nowhere";
const TYPED: &str = "do 1; select sleep(0.3); select nonsense from nowhere; do 2;";

#[test]
fn the_slow_and_the_refused_are_shown_and_of_their_connections_only_what_is_wrong() {
    let stage = Stage::raise(Road::Plain);
    let usual = SCRIPTS.iter().find(|script| script.name == "terminal").unwrap();
    let cast = Cast::Terminal(&["--skip-ssl", "--force"], TYPED);
    let scene = stage.play(&Script { name: "chosen", cast, ..*usual });
    let capture = scene.captures[0].as_path();
    for (options, expected) in [
        (&["--slow", "200ms"][..], &[SLOW][..]),
        (&["--errors"], &[REFUSED]),
        (&["--slow", "200ms", "--errors"], &[SLOW, REFUSED]),
        (&["--slow", "200ms", "--mask"], &["select sleep(?)"]),
        (&["--slow", "1h"], &[]),
    ] {
        let told = Told::of(&[capture], options);
        let texts: Vec<_> = told.statements.iter().map(|statement| statement.text.clone()).collect();
        let expected: Vec<_> = expected.iter().map(|text| Text::Decoded((*text).to_owned())).collect();
        assert_eq!(texts, expected, "{options:?}");
        assert_eq!(told.notes, [], "{options:?}: a login that went well is not looked for");
    }
    let lines = Command::new(BYWAY).args(["mysql", "-r"]).arg(capture).output().unwrap();
    let lines = String::from_utf8(lines.stdout).unwrap();
    assert!(lines.contains(", server 10.") && !lines.contains("5.5.5"), "its own version: {lines}");
    assert_eq!(lines.matches(REFUSED).count(), 1, "{lines}");
}
