//! Each story says what happens to a peer and when, and what is believed of it, in milliseconds.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// What the world does with what is sent.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing of the world that can be broken alone")]
struct World {
    echoes: bool,
    cannot_send: bool,
    underlay: bool,
    agent: Option<Word>,
    kernel: bool,
    /// The agent does not run until then.
    busy_until: Millis,
}

impl World {
    fn change(&mut self, word: &str) {
        let heard = |hears, holds_ms| Some(Word { hears, holds_ms });
        match word {
            "well" => {
                *self = Self { echoes: true, underlay: true, agent: heard(Some(true), 0), ..Self::default() };
            }
            "cut" => *self = Self::default(),
            "no-echoes" => self.echoes = false,
            "echoes" => self.echoes = true,
            "own-link-down" => self.cannot_send = true,
            "own-link-up" => self.cannot_send = false,
            "agent-dead" => self.agent = None,
            "agent-deaf" => self.agent = heard(Some(false), 0),
            "agent-holds-5s" => self.agent = heard(Some(false), 5_000),
            "kernel" => self.kernel = true,
            "kernel-silent" => self.kernel = false,
            other => panic!("the world has no `{other}`"),
        }
    }

    fn said(&self, deed: Deed) -> Said {
        match self.agent {
            _ if self.kernel && deed == Deed::AskWitnesses => Said::Kernel,
            Some(word) => Said::Word(word),
            None => Said::Nothing { why: "no answer".to_owned() },
        }
    }
}

const PACE: Pace = Pace { echo_every: ECHO_EVERY, ask_every: ASK_EVERY, back_every: ECHO_EVERY };
/// How long an answer is under way.
const TRIP: Millis = 2;
/// How long asking takes.
const TALK: Millis = 20;

/// A peer with what is under way to it.
struct Stage {
    health: Health,
    world: World,
    under_way: Vec<(Millis, Arrival)>,
    told: String,
    last: State,
}

#[derive(Debug, Clone)]
enum Arrival {
    Echo,
    UnderlayEcho,
    Said(Deed, Said),
}

impl Stage {
    fn new() -> Self {
        let health = Health::new(0, 0);
        let last = health.state(0);
        Self { health, world: World::default(), under_way: Vec::new(), told: String::new(), last }
    }

    fn step(&mut self, now: Millis) {
        if now < self.world.busy_until {
            return;
        }
        let arrived: Vec<Arrival> =
            self.under_way.iter().filter(|(at, _)| *at <= now).map(|(_, arrival)| arrival.clone()).collect();
        self.under_way.retain(|(at, _)| *at > now);
        for arrival in arrived {
            match arrival {
                Arrival::Echo => self.health.answered(now, 1_000),
                Arrival::UnderlayEcho => self.health.answered_on_underlay(now),
                Arrival::Said(deed, said) => self.health.told(now, deed, &said),
            }
            self.note(now);
        }
        for deed in self.health.tick(now, &PACE) {
            self.do_it(now, deed);
        }
        self.note(now);
    }

    fn do_it(&mut self, now: Millis, deed: Deed) {
        match deed {
            Deed::Echo if self.world.cannot_send => self.health.not_sent(now, "its own link is down"),
            Deed::Echo if self.world.echoes => self.under_way.push((now + TRIP, Arrival::Echo)),
            Deed::UnderlayEcho if self.world.underlay => {
                self.under_way.push((now + TRIP, Arrival::UnderlayEcho));
            }
            Deed::Echo | Deed::UnderlayEcho => {}
            asked => {
                let said = self.world.said(asked);
                let took = if matches!(said, Said::Nothing { .. }) { WITNESS_TIME } else { TALK };
                self.under_way.push((now + took, Arrival::Said(asked, said)));
            }
        }
    }

    fn note(&mut self, now: Millis) {
        let state = self.health.state(now);
        if state != self.last {
            self.last = state;
            let _ = writeln!(self.told, "{now} {state:?}");
        }
    }
}

/// Each line of a story is a time and what happens then; the last one is its end.
fn play(story: &str) -> Stage {
    let mut stage = Stage::new();
    let mut now = 0;
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let at: Millis = words.next().unwrap().parse().unwrap();
        while now < at {
            stage.step(now);
            now += 1;
        }
        for word in words {
            match word.strip_prefix("busy-for-") {
                Some(millis) => stage.world.busy_until = now + millis.parse::<Millis>().unwrap(),
                None if word == "end" => {}
                None if word == "another-path" => stage.health.another_path(now),
                None => stage.world.change(word),
            }
        }
    }
    stage
}

#[track_caller]
fn check(story: &str, expected: &str) {
    let told = play(story).told;
    let expected: String = expected.lines().map(|line| line.trim().to_owned() + "\n").collect();
    assert_eq!(told, expected, "{story}");
}

#[test]
fn a_peer_that_dies_is_gone_within_a_second_and_back_within_one() {
    check(
        "0 well
         10100 cut
         20000 well
         30000 end",
        "2 Answers
         10352 Silent
         10652 Gone
         20273 Returning
         20375 Answers",
    );
}

#[test]
fn whenever_it_dies_it_takes_less_than_800_ms() {
    for at in 5_000..5_400 {
        let stage = play(&format!("0 well\n{at} cut\n{} end", at + 800));
        assert!(stage.health.gone().is_some(), "{at}: {}", stage.told);
    }
}

#[test]
fn a_peer_that_never_answered_keeps_its_routes() {
    check("0 cut\n600000 end", "");
    check("0 cut\n60000 agent-deaf\n600000 end", "");
}

#[test]
fn some_lost_echoes_are_no_death() {
    check(
        "0 well
         5000 no-echoes agent-deaf
         5400 echoes
         8000 end",
        "2 Answers
         5252 Silent
         5404 Answers",
    );
}

#[test]
fn if_only_echoes_are_filtered_its_agent_vouches_for_it() {
    check(
        "0 well
         5000 no-echoes
         60000 echoes
         61000 end",
        "2 Answers
         5252 Silent
         5272 Vouched
         60174 Answers",
    );
}

#[test]
fn if_only_echoes_are_filtered_its_kernel_vouches_for_it() {
    check(
        "0 well
         5000 no-echoes agent-deaf kernel
         9000 end",
        "2 Answers
         5252 Silent
         5272 Vouched",
    );
}

#[test]
fn who_is_vouched_for_and_dies_is_gone_too() {
    let stage = play("0 well\n5000 no-echoes kernel\n10000 cut\n12500 end");
    assert!(stage.told.ends_with("Gone\n"), "{}", stage.told);
}

#[test]
fn an_agent_that_does_not_hear_us_either_is_no_help() {
    let stage = play("0 well\n5000 no-echoes agent-deaf\n6000 end");
    assert_eq!(
        stage.health.gone(),
        Some("nothing arrives along the data path; its agent answers, but does not hear this host either")
    );
}

#[test]
fn an_agent_that_is_dead_changes_nothing() {
    let stage = play("0 well\n5000 agent-dead\n60000 end");
    assert_eq!(stage.told, "2 Answers\n");
    assert!(matches!(stage.health.agent(), Some(Err(_))));
}

#[test]
fn a_host_that_cannot_send_blames_nobody() {
    check(
        "0 well
         5000 own-link-down
         9000 own-link-up
         10000 end",
        "2 Answers
         5102 NotTried
         9002 Answers",
    );
}

#[test]
fn a_host_that_was_busy_listens_again_before_it_believes() {
    for busy in [200, 500, 1_000, 10_000] {
        let stage = play(&format!("0 well\n5110 busy-for-{busy}\n20000 end"));
        assert!(!stage.told.contains("Gone"), "{busy}: {}", stage.told);
    }
}

#[test]
fn a_peer_whose_agent_is_dead_comes_back_as_its_host_answers() {
    check(
        "0 well
         5000 agent-dead
         6000 cut
         9000 well agent-dead
         12000 end",
        "2 Answers
         6152 Silent
         6452 Gone
         9453 Returning
         9555 Answers",
    );
}

#[test]
fn a_peer_that_holds_its_own_route_back_is_waited_for() {
    let stage = play("0 well\n5000 cut\n6000 well agent-holds-5s\n10500 end");
    assert_eq!(stage.last, State::HeldBack, "{}", stage.told);
    let stage = play("0 well\n5000 cut\n6000 well agent-holds-5s\n10500 well\n12500 end");
    assert_eq!(stage.last, State::Answers, "{}", stage.told);
}

#[test]
fn a_trial_that_fails_is_tried_again_after_twice_as_long() {
    check(
        "0 well
         5000 cut
         6000 well no-echoes
         12500 end",
        "2 Answers
         5252 Silent
         5552 Gone
         6173 Returning
         6773 HeldBack
         7773 Gone
         7793 Returning
         8393 HeldBack
         10393 Gone
         10413 Returning
         11013 HeldBack",
    );
}

#[test]
fn a_new_path_is_tried_at_once_whatever_was_held_back() {
    check(
        "0 well
         5000 cut
         6000 well no-echoes
         8500 well another-path
         9000 end",
        "2 Answers
         5252 Silent
         5552 Gone
         6173 Returning
         6773 HeldBack
         7773 Gone
         7793 Returning
         8393 HeldBack
         8500 Returning
         8602 Answers",
    );
}

#[test]
fn a_peer_that_comes_and_goes_is_held_back_longer_each_time() {
    let mut story = "0 well\n".to_owned();
    for nth in 0..60 {
        let _ = writeln!(story, "{} cut\n{} well", 5_000 + nth * 4_000, 7_000 + nth * 4_000);
    }
    let stage = play(&(story + "245000 end"));
    // 60 times away in four minutes; at most so often are the routes changed.
    assert!((4..12).contains(&stage.health.flaps()), "{}", stage.told);
    assert!(stage.health.hold >= 16_000, "{}", stage.told);
    assert!(stage.health.turns().count() <= TURNS_MAX);
}

#[test]
fn an_agent_that_has_just_started_is_a_new_beginning() {
    let mut stage = play("0 well\n5000 cut\n7000 well\n9000 cut\n9900 end");
    assert_eq!(stage.last, State::HeldBack, "{}", stage.told);
    stage.health.asked_by_it(9_900, Question { has_heard_nothing: false });
    assert_eq!(stage.health.state(9_900), State::HeldBack);
    stage.health.asked_by_it(9_900, Question { has_heard_nothing: true });
    assert_eq!(stage.health.state(9_900), State::Returning);
}

#[test]
fn who_never_answered_is_tried_ever_more_seldom() {
    let mut health = Health::new(0, 0);
    let mut echoes = 0;
    for now in 0..600_000 {
        echoes += health.tick(now, &PACE).iter().filter(|deed| **deed == Deed::Echo).count();
    }
    assert!((10..20).contains(&echoes), "{echoes}");
    health.asked_by_it(600_000, Question::default());
    assert_eq!(health.tick(600_000, &PACE)[0], Deed::Echo);
}

#[test]
fn calm_is_forgiving() {
    let mut stage = play("0 well\n5000 cut\n7000 well\n9000 cut\n11000 well\n20000 end");
    assert_eq!((stage.health.flaps(), stage.health.hold), (2, 2_000));
    for now in 20_000..200_000 {
        stage.step(now);
    }
    assert_eq!(stage.health.hold, 0);
}

#[test]
fn many_peers_are_tried_more_slowly() {
    assert_eq!(Pace::of(10, 30), PACE);
    assert_eq!(Pace::of(2_000, 500), Pace { echo_every: 2_000, ask_every: 1_000_000, back_every: 5_000 });
}

/// Two hosts that try each other, with routes of which each needs both: whatever happened, they find together again.
struct Pair {
    hosts: [Health; 2],
    link: bool,
}

impl Pair {
    fn step(&mut self, now: Millis) {
        for me in 0..2 {
            let other = 1 - me;
            for deed in self.hosts[me].tick(now, &PACE) {
                let routed = self.hosts.iter().all(|host| host.gone().is_none());
                match deed {
                    Deed::Echo if self.link && routed => self.hosts[me].answered(now, 1_000),
                    Deed::UnderlayEcho if self.link => self.hosts[me].answered_on_underlay(now),
                    Deed::Echo | Deed::UnderlayEcho => {}
                    asked if self.link => {
                        let question = self.hosts[me].question();
                        self.hosts[other].asked_by_it(now, question);
                        let said = Said::Word(self.hosts[other].word(now));
                        self.hosts[me].told(now, asked, &said);
                    }
                    asked => self.hosts[me].told(now, asked, &Said::Nothing { why: String::new() }),
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn two_hosts_find_together_again_whatever_the_link_did(
        changes in proptest::collection::vec(50_u64..20_000, 1..60),
    ) {
        let mut pair = Pair { hosts: [Health::new(0, 0), Health::new(0, 7)], link: true };
        let mut now = 0;
        for length in changes {
            for _ in 0..length / 10 {
                pair.step(now);
                now += 10;
            }
            pair.link = !pair.link;
        }
        pair.link = true;
        let longest = now + HOLD_MAX + 2_000;
        while now < longest {
            pair.step(now);
            now += 10;
        }
        for host in &pair.hosts {
            prop_assert_eq!(host.state(now), State::Answers);
            prop_assert!(host.turns().count() <= TURNS_MAX && host.hold <= HOLD_MAX);
        }
    }

    #[test]
    fn only_what_answered_before_is_ever_gone(
        inputs in proptest::collection::vec((0_u8..7, 1_u64..400), 1..300),
    ) {
        let (mut health, mut now, mut answered) = (Health::new(0, 0), 0, false);
        for (what, later) in inputs {
            now += later;
            match what {
                0 if now % 3 == 0 => {
                    answered = true;
                    health.answered(now, 1);
                }
                1 => health.told(now, Deed::AskWitnesses, &Said::Nothing { why: String::new() }),
                2 => health.told(now, Deed::Ask, &Said::Word(Word { hears: None, holds_ms: u64::MAX })),
                3 => health.not_sent(now, "no way out"),
                4 => health.asked_by_it(now, Question { has_heard_nothing: now % 2 == 0 }),
                _ => drop(health.tick(now, &PACE)),
            }
            prop_assert!(answered || health.gone().is_none());
            prop_assert!(health.due() <= now + HOLD_MAX);
        }
    }
}
