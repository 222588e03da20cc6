//! Connections of other programs, as they were on the wire: `scenes/*.txt`. A new scene is a new file.
//!
//! `key` is a line of the key log, `client` and `server` are bytes of theirs; behind `told` stands what is told of them.

use super::talk::{CLIENT, SERVER, Watch};
use crate::{lines, unhex};

#[test]
fn the_scenes_of_other_programs_are_told_as_they_should_be() {
    let scenes = [
        include_str!("scenes/hello_retry.txt"),
        include_str!("scenes/padded.txt"),
        include_str!("scenes/renegotiated.txt"),
    ];
    for scene in scenes {
        let (scene, expected) = scene.split_once("told\n").unwrap();
        let of = |word: &'static str| scene.lines().filter_map(move |line| line.strip_prefix(word));
        let keys: Vec<&str> = of("key ").collect();
        let mut watch = Watch::new(&(keys.join("\n") + "\n"), 0);
        for line in scene.lines() {
            match line.split_once(' ') {
                Some(("client", bytes)) => watch.see(CLIENT, &unhex(bytes)),
                Some(("server", bytes)) => watch.see(SERVER, &unhex(bytes)),
                Some(("key" | "#", _)) => {}
                other => unreachable!("a line of a scene is none of those above: {other:?}"),
            }
        }
        assert_eq!(lines(&watch.notes.text), lines(expected));
    }
}
