//! Subnets that hosts claim for themselves: what each does, as the store stands.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "lease/model.rs"]
mod model;
#[path = "lease/random.rs"]
mod random;

use byway_fabric::cluster::Host;
use byway_fabric::lease::{
    Claim, Claimant, Lengths, Refused, Use, claim, keep_listed, list, release, remove, reserve, set_up,
};
use ipnet::IpNet;
use model::{Model, ask, host, join, net};

const FOUR: [&str; 1] = ["10.0.0.0/14"];

fn four() -> Model {
    Model::of(&FOUR, 16)
}

fn routed(model: &Model) -> Vec<(String, Vec<IpNet>)> {
    model.registry().routed().hosts.into_iter().map(|host| (host.name.to_string(), host.subnets)).collect()
}

#[test]
fn a_host_gets_a_subnet_of_each_family_and_holds_it() {
    let mut model = Model::of(&["172.40.0.0/13", "fd00:172::/32"], 16);
    let mut first = host(41);
    join(&mut model, &mut first);
    assert_eq!(first.subnets, [net("172.41.0.0/16"), net("fd00:172:0:29::/64")]);
    assert_eq!(first.generation, Some(1));
    assert_eq!(routed(&model), [("docker41".to_owned(), first.subnets.clone())]);
    assert_eq!(ask(&model, &first), Ok(Claim::Holds));
}

#[test]
fn of_two_that_want_the_same_at_once_one_gets_it_and_the_other_looks_again() {
    let mut model = four();
    let (mut first, mut second) = (host(0), host(4));
    let claims = [ask(&model, &first), ask(&model, &second)].map(|claim| match claim {
        Ok(Claim::Write { transaction, subnets, .. }) => (transaction, subnets),
        other => panic!("{other:?}"),
    });
    assert_eq!(claims[0].1, claims[1].1, "both want the same");
    assert!(model.apply(&claims[0].0, &first.id));
    assert!(!model.apply(&claims[1].0, &second.id));
    (first.generation, first.subnets) = (Some(1), claims[0].1.clone());
    join(&mut model, &mut second);
    assert_eq!((first.subnets, second.subnets), (vec![net("10.0.0.0/16")], vec![net("10.1.0.0/16")]));
}

#[test]
fn never_used_comes_first_then_given_back_then_what_is_gone_longest() {
    let mut model = four();
    let mut hosts: Vec<_> = (0..3).map(host).collect();
    for host in &mut hosts {
        join(&mut model, host);
    }
    let given_back = release(&model.registry(), &hosts[2].id, 1).unwrap();
    assert!(model.apply(&given_back, &hosts[2].id));
    model.lapse(&hosts[2].id);
    model.lapse(&hosts[1].id);
    model.lapse(&hosts[0].id);
    let mut taken = Vec::new();
    for nth in [4, 8, 12, 16] {
        let mut newcomer = host(nth);
        join(&mut model, &mut newcomer);
        taken.push(newcomer.subnets[0].to_string());
    }
    assert_eq!(taken, ["10.3.0.0/16", "10.2.0.0/16", "10.0.0.0/16", "10.1.0.0/16"]);
}

#[test]
fn what_is_in_use_is_passed_over_and_told() {
    let model = four();
    let in_use = |subnet| (subnet == net("10.1.0.0/16")).then(|| "10.1.2.3 answers".to_owned());
    let Ok(Claim::Write { subnets, passed_over, .. }) = claim(&model.registry(), &host(1), &in_use) else {
        panic!("it is let in")
    };
    assert_eq!(subnets, [net("10.2.0.0/16")]);
    let told: Vec<_> = passed_over.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["10.1.0.0/16 was passed over: 10.1.2.3 answers"]);
}

#[test]
fn a_full_prefix_says_who_holds_what() {
    let mut model = Model::of(&["10.0.0.0/15"], 16);
    join(&mut model, &mut host(1));
    join(&mut model, &mut host(2));
    let refused = ask(&model, &host(3)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no subnet of 10.0.0.0/15 is left: 10.0.0.0/16 is held by docker2, 10.1.0.0/16 is held by docker1"
    );
    model.write("cluster", br#"{"prefixes":["10.0.0.0/14"],"subnet-lengths":{"ipv4":16,"ipv6":64}}"#);
    let mut third = host(3);
    join(&mut model, &mut third);
    assert_eq!(third.subnets, [net("10.3.0.0/16")], "widened under way");
}

#[test]
fn a_restart_goes_on_with_its_subnet_and_what_was_before_it_may_not_write() {
    let mut model = four();
    let mut before = host(1);
    join(&mut model, &mut before);
    let mut after = host(1);
    join(&mut model, &mut after);
    assert_eq!((&after.subnets, after.generation), (&before.subnets, Some(2)));
    assert_eq!(ask(&model, &before), Err(Refused::Succeeded { theirs: 2, ours: 1 }));
}

#[test]
fn of_two_machines_with_one_disk_the_second_is_refused_while_the_first_is_there() {
    let mut model = four();
    let mut original = host(1);
    join(&mut model, &mut original);
    let mut copy = host(1);
    copy.addresses = vec!["192.168.199.77".parse().unwrap()];
    let refused = ask(&model, &copy).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "another machine has the id of this one and is in the cluster, at 192.168.199.1"
    );
    // It was the same machine after all, and its address has changed.
    model.lapse(&original.id);
    join(&mut model, &mut copy);
    assert_eq!(copy.subnets, original.subnets);
}

#[test]
fn a_host_that_comes_back_takes_its_subnet_if_it_is_free_and_does_not_fight_if_not() {
    let mut model = Model::of(&["10.0.0.0/16"], 16);
    let mut first = host(1);
    join(&mut model, &mut first);
    model.lapse(&first.id);
    assert_eq!(routed(&model), [], "nobody routes to who is gone");
    let cut_off = first.clone();
    join(&mut model, &mut first);
    assert_eq!((first.generation, routed(&model).len()), (Some(1), 1), "the same, back");
    model.lapse(&first.id);
    let mut other = host(2);
    join(&mut model, &mut other);
    let refused = ask(&model, &cut_off).unwrap_err();
    assert_eq!(refused.to_string(), "the subnet 10.0.0.0/16 of this host is held by docker2 now");
    assert_eq!(routed(&model), [("docker2".to_owned(), other.subnets)]);
}

#[test]
fn subnets_that_containers_have_already_are_claimed_as_they_are() {
    let mut model = four();
    let mut moved = host(9);
    moved.subnets = vec![net("10.3.0.0/16")];
    join(&mut model, &mut moved);
    assert_eq!(moved.subnets, [net("10.3.0.0/16")]);
    let mut unfit = host(8);
    unfit.subnets = vec![net("10.3.4.0/24")];
    assert_eq!(ask(&model, &unfit), Err(Refused::Unfit { subnet: net("10.3.4.0/24"), length: 16 }));
}

#[test]
fn a_reserved_subnet_waits_for_its_host() {
    let mut model = four();
    let registry = model.registry();
    let wanted = reserve(&registry, &host(7).name, net("10.2.0.0/16")).unwrap();
    assert!(model.apply(&wanted, &host(7).id));
    for nth in [2, 6] {
        let mut other = host(nth);
        join(&mut model, &mut other);
        assert_ne!(other.subnets, [net("10.2.0.0/16")]);
    }
    let mut expected = host(7);
    join(&mut model, &mut expected);
    assert_eq!(expected.subnets, [net("10.2.0.0/16")]);
    let why = |subnet: &str| reserve(&model.registry(), &host(5).name, net(subnet)).unwrap_err();
    assert_eq!(why("10.2.0.0/16"), "10.2.0.0/16 is held by docker7");
    assert_eq!(why("10.9.0.0/16"), "10.9.0.0/16 lies in none of the prefixes");
    assert_eq!(why("10.2.0.0/24"), "10.2.0.0/24 is no subnet of length 16, which all subnets here have");
}

#[test]
fn a_name_is_one_hosts_until_that_is_gone() {
    let mut model = four();
    let mut first = host(1);
    join(&mut model, &mut first);
    let mut installed_anew = host(2);
    installed_anew.name = first.name.clone();
    let refused = ask(&model, &installed_anew).unwrap_err();
    assert_eq!(refused.to_string(), "the name docker1 is that of another host, at 192.168.199.1");
    model.lapse(&first.id);
    join(&mut model, &mut installed_anew);
    assert_eq!(routed(&model), [("docker1".to_owned(), installed_anew.subnets)]);
}

#[test]
fn garbage_is_told_by_its_key_and_taken_for_nothing() {
    let mut model = four();
    for (key, value) in [
        ("subnets/10.1.0.0-16", "{\"state\":\"broken\"}"),
        ("subnets/10.1.0.0-12", "{}"),
        ("hosts/nobody", "{}"),
        ("what is this", ""),
        ("alive/0000000000000000000000000000002a", "true"),
    ] {
        model.write(key, value.as_bytes());
    }
    let mut first = host(1);
    join(&mut model, &mut first);
    assert_eq!(first.subnets, [net("10.2.0.0/16")], "what cannot be read may be somebody's");
    let told: Vec<_> = model.registry().garbage().0.into_iter().map(|garbage| garbage.key).collect();
    assert_eq!(
        told,
        [
            "alive/0000000000000000000000000000002a",
            "hosts/nobody",
            "subnets/10.1.0.0-12",
            "subnets/10.1.0.0-16",
            "what is this"
        ]
    );
    let refused = ask(&model, &host(42)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "what the store has under alive/0000000000000000000000000000002a cannot be read"
    );
    model.remove("cluster");
    assert_eq!(ask(&model, &first), Err(Refused::NoCluster));
}

#[test]
fn a_store_that_lost_everything_is_filled_again_by_those_who_are_there() {
    let mut model = four();
    let mut hosts: Vec<_> = (0..4).map(host).collect();
    for host in &mut hosts {
        join(&mut model, host);
    }
    let (before, mut emptied) = (routed(&model), four());
    for host in &mut hosts {
        join(&mut emptied, host);
    }
    assert_eq!(routed(&emptied), before);
}

#[test]
fn a_prefix_with_more_subnets_than_can_be_counted_is_no_trouble() {
    let mut model = Model::of(&["fd00::/8"], 24);
    let mut first = host(1);
    join(&mut model, &mut first);
    assert_eq!(first.subnets, [net("fd00:0:0:1::/64")]);
}

fn listed(claimant: &Claimant, subnets: &[&str]) -> Host {
    Host {
        name: claimant.name.clone(),
        addresses: claimant.addresses.clone(),
        subnets: subnets.iter().map(|subnet| net(subnet)).collect(),
        key: None,
    }
}

#[test]
fn a_host_that_is_listed_is_routed_to_until_its_agent_takes_its_place() {
    let mut model = four();
    let (mut first, mut second) = (host(1), host(2));
    let listing = list(&model.registry(), &listed(&first, &["10.3.0.0/16"])).unwrap();
    assert!(model.apply(&listing, &second.id));
    let before = routed(&model);
    assert_eq!(before, [("docker1".to_owned(), vec![net("10.3.0.0/16")])]);
    let again = list(&model.registry(), &listed(&second, &["10.3.0.0/16"])).unwrap_err();
    assert_eq!(again, "10.3.0.0/16 is reserved for docker1");
    join(&mut model, &mut first);
    assert_eq!((first.subnets.clone(), routed(&model)), (vec![net("10.3.0.0/16")], before));
    model.lapse(&first.id);
    assert_eq!(routed(&model), [], "the listing went when the host entered");
    join(&mut model, &mut second);
    let there = list(&model.registry(), &listed(&second, &[])).unwrap_err();
    assert_eq!(there, "the host docker2 is there, at 192.168.199.2");
}

#[test]
fn a_host_that_is_kept_listed_stays_routed_to_when_its_lease_lapses() {
    let mut model = Model::of(&["10.0.0.0/15"], 16);
    let (mut first, mut second) = (host(1), host(2));
    join(&mut model, &mut first);
    let host = model.registry().routed().hosts[0].clone();
    let keep = keep_listed(&model.registry(), &host).unwrap();
    assert!(model.apply(&keep, &second.id));
    assert_eq!(keep_listed(&model.registry(), &host), None);
    assert_eq!(ask(&model, &first), Ok(Claim::Holds), "who is there leaves it alone");
    let before = routed(&model);
    model.lapse(&first.id);
    assert_eq!(routed(&model), before);
    join(&mut model, &mut second);
    assert_eq!(second.subnets, [net("10.0.0.0/16")], "what it holds is nobody else's");
    let away = remove(&model.registry(), &first.name).unwrap();
    assert!(model.apply(&away, &second.id));
    assert_eq!(routed(&model), [("docker2".to_owned(), second.subnets.clone())]);
    assert_eq!(remove(&model.registry(), &first.name).unwrap_err(), "no host is called docker1");
    let there = remove(&model.registry(), &second.name).unwrap_err();
    assert_eq!(there, "the agent of docker2 is there, at 192.168.199.2: `byway down` there first");
}

#[test]
fn a_prefix_is_widened_while_the_cluster_runs_and_never_taken_from_under_a_subnet() {
    let mut model = Model::of(&["10.0.0.0/15"], 16);
    let mut hosts = [host(0), host(1), host(2)];
    for host in &mut hosts[..2] {
        join(&mut model, host);
    }
    assert!(matches!(ask(&model, &hosts[2]), Err(Refused::Full(_))));
    let mut record = model.registry().cluster.unwrap().value;
    record.prefixes = vec![net("10.0.0.0/14"), net("fd00::/48")];
    let widen = set_up(&model.registry(), &record).unwrap().unwrap();
    assert!(model.apply(&widen, &hosts[0].id));
    assert_eq!(set_up(&model.registry(), &record), Ok(None));
    for host in &mut hosts {
        join(&mut model, host);
    }
    assert_eq!(hosts[2].subnets, [net("10.2.0.0/16"), net("fd00:0:0:2::/64")]);
    record.prefixes = vec![net("10.0.0.0/15"), net("fd00::/48")];
    let refused = set_up(&model.registry(), &record).unwrap_err();
    assert_eq!(refused, "10.2.0.0/16 would lie outside, and is held by docker2");
    record.subnet_lengths = Lengths { ipv4: 17, ..record.subnet_lengths };
    assert_eq!(
        set_up(&model.registry(), &record).unwrap_err(),
        "the length of the subnets cannot be changed"
    );
}

#[test]
fn what_one_host_uses_is_given_to_no_other() {
    let mut model = four();
    let (mut first, mut second) = (host(0), host(4));
    let what = "the route 10.1.2.0/24 via 192.168.199.1 dev eth0".to_owned();
    first.uses = vec![Use { net: net("10.1.2.0/24"), what }];
    join(&mut model, &mut first);
    let Claim::Write { passed_over, .. } = ask(&model, &second).unwrap() else { panic!("a claim") };
    assert_eq!(
        passed_over[0].to_string(),
        "10.1.0.0/16 was passed over: docker0 has the route 10.1.2.0/24 via 192.168.199.1 dev eth0"
    );
    join(&mut model, &mut second);
    assert_eq!(second.subnets, [net("10.2.0.0/16")]);
    first.uses.clear();
    join(&mut model, &mut first);
    assert_eq!(ask(&model, &first), Ok(Claim::Holds));
}

#[test]
fn a_subnet_that_is_reserved_for_a_host_later_comes_on_top() {
    let mut model = four();
    let mut first = host(0);
    join(&mut model, &mut first);
    let more = reserve(&model.registry(), &first.name, net("10.3.0.0/16")).unwrap();
    assert!(model.apply(&more, &host(9).id));
    join(&mut model, &mut first);
    assert_eq!(first.subnets, [net("10.0.0.0/16"), net("10.3.0.0/16")]);
}
