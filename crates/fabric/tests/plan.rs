//! The planner's stories: each file in `tests/plan/` is a scene, a line `---`, and the plan as it is printed.
//! A new story is a new file; `BYWAY_BLESS=1` writes what the planner says into all of them, to be read.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod scene;

use std::fmt::Write as _;

use byway_fabric::plan::{Memory, Plan, plan, take_down};
use scene::Scene;

fn told(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        writeln!(text, "{step}").unwrap();
    }
    for (host, path) in &plan.ways {
        writeln!(text, "{host} is reached {path}: {}", path.because()).unwrap();
    }
    for problem in &plan.problems {
        writeln!(text, "{problem}").unwrap();
    }
    if text.is_empty() { "nothing\n".to_owned() } else { text }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the harness reads stories from files")]
fn every_story_ends_as_it_is_told() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plan");
    let mut stories: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.sort();
    assert!(stories.len() >= 15, "the stories have gone");
    let bless = std::env::var_os("BYWAY_BLESS").is_some();
    let mut wrong = String::new();
    for path in stories {
        let story = std::fs::read_to_string(&path).unwrap();
        let (begin, end) = story.split_once("---\n").expect("a story has a line `---`");
        let scene = Scene::read(begin);
        let desired = scene.desired();
        let plan = plan(&desired, &scene.observed);
        plan.check(&desired).expect("a plan never breaks the rules of the house");
        let told = told(&plan);
        if bless {
            std::fs::write(&path, format!("{begin}---\n{told}")).unwrap();
        } else if told != end {
            write!(wrong, "\n{}\n  told\n{told}\n  expected\n{end}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_way_back_takes_out_what_is_ours_and_puts_back_what_was() {
    let scene = Scene::read(
        "host a at 10.0.0.1 holds 10.1.0.0/24
         host b at 10.0.0.2 holds 10.2.0.0/24
         me a
         link eth0 10.0.0.1/24
         link docker0 10.1.0.1/24
         route 10.2.0.0/24 via 10.0.0.2 dev eth0 src 10.1.0.1 proto byway
         route 10.9.0.0/24 via 10.0.0.9 dev eth0 proto static
         sysctl net.ipv4.conf.eth0.forwarding = 1
         sysctl net.ipv4.conf.docker0.forwarding = 1
         table as wanted",
    );
    let memory = r#"{"sysctls": {"net.ipv4.conf.eth0.forwarding": {"was": "0", "put": "1"}}}"#;
    let memory: Memory = serde_json::from_str(memory).unwrap();
    assert_eq!(
        told(&take_down(&memory, &scene.observed)),
        "del route 10.2.0.0/24 via 10.0.0.2 dev eth0 src 10.1.0.1 because byway goes\n\
         put net.ipv4.conf.eth0.forwarding = 0 (was 1) because it was so before byway\n\
         del table inet byway because byway goes\n"
    );
}

#[test]
fn the_way_back_leaves_a_setting_that_others_rely_on_by_now() {
    let scene = Scene::read(
        "host a at 10.0.0.1 holds 10.1.0.0/24
         me a
         link eth0 10.0.0.1/24
         sysctl net.ipv4.conf.all.forwarding = 1
         sysctl net.ipv4.conf.eth0.forwarding = 1",
    );
    let memory = r#"{"sysctls": {"net.ipv4.conf.eth0.forwarding": {"was": "0", "put": "1"}}}"#;
    let memory: Memory = serde_json::from_str(memory).unwrap();
    assert_eq!(
        told(&take_down(&memory, &scene.observed)),
        "waits: net.ipv4.conf.eth0.forwarding stays 1: somebody switched net.ipv4.conf.all.forwarding on after us\n"
    );
}
