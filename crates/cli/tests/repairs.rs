//! What others break on a host is whole again at once, and the agent names what was done, and by whom where the
//! kernel tells.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use byway_lab::{Lab, Signal, Topology};
use common::{Ear, agent, assert_reaching, lab, run, status, until_reaching};

/// A colleague's deed on docker41 is repaired, and called `blamed`.
fn check(deed: &str, blamed: &str) {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(&lab, "docker41", deed);
    let who = ear.until_blamed(blamed);
    let is_named = who.contains("(pid ") || who.starts_with("pid ");
    assert!(is_named, "{blamed}, by {who}");
    ear.until_at_rest();
    assert_reaching(&lab);
    assert_well(&lab);
}

/// What the kernel or a colleague does to a setting is repaired by a step that begins so; nobody is named.
fn check_setting(deed: &str, step: &str) {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(&lab, "docker41", deed);
    ear.until(step, || {
        let repaired = agent(&lab, "docker41").last_repair.unwrap().steps;
        if repaired.iter().any(|done| done.starts_with(step)) { Ok(()) } else { Err(repaired.join("\n")) }
    });
    let change = agent(&lab, "docker41").last_change.unwrap();
    assert!(change.what.starts_with("set net.ipv") && change.what.ends_with("forwarding to 0"), "{change:?}");
    ear.until_at_rest();
    assert_reaching(&lab);
    assert_well(&lab);
}

/// What happens to a link is repaired; the containers reach each other as soon as the link passes packets.
fn check_link(deed: &str) {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(&lab, "docker41", deed);
    ear.until("the routes are back", || match status(&lab, "docker41").hosts[1].routes_present {
        2 => Ok(()),
        other => Err(format!("{other} of 2")),
    });
    ear.until_at_rest();
    until_reaching(&lab);
    assert_well(&lab);
}

fn assert_well(lab: &Lab) {
    let (code, out, _) = common::byway(lab, "docker41", &["status"]);
    assert_eq!(code, Some(0), "{out}");
}

#[test]
fn a_deleted_route_comes_back() {
    check("ip route del 172.42.0.0/16", "deleted the route to 172.42.0.0/16");
}

#[test]
fn a_deleted_ipv6_route_comes_back() {
    check("ip -6 route del fd00:172:42::/64", "deleted the route to fd00:172:42::/64");
}

#[test]
fn a_route_replaced_in_our_name_is_put_right() {
    check(
        "ip route replace 172.42.0.0/16 via 192.168.199.99 proto byway metric 172",
        "put a route to 172.42.0.0/16 in our name",
    );
}

#[test]
fn an_ipv6_route_replaced_in_our_name_is_put_right() {
    check(
        "ip -6 route replace fd00:172:42::/64 via fd00:199::99 proto byway metric 172",
        "put a route to fd00:172:42::/64 in our name",
    );
}

#[test]
fn a_blackhole_in_our_name_is_put_right() {
    check(
        "ip route replace blackhole 172.42.0.0/16 proto byway metric 172",
        "put a route to 172.42.0.0/16 in our name",
    );
}

#[test]
fn a_second_hop_for_an_ipv6_route_in_our_name_goes_again() {
    check(
        "ip -6 route append fd00:172:42::/64 via fd00:199::99 proto byway metric 172",
        "put a route to fd00:172:42::/64 in our name",
    );
}

#[test]
fn a_route_in_our_name_to_nobody_goes_again() {
    check(
        "ip route add 10.66.0.0/16 via 192.168.199.42 proto byway metric 172",
        "put a route to 10.66.0.0/16 in our name",
    );
}

#[test]
fn all_our_routes_flushed_come_back() {
    check(
        "ip route flush table main proto byway && ip -6 route flush table main proto byway",
        "deleted the route to fd00:172:42::/64",
    );
}

#[test]
fn a_deleted_table_comes_back() {
    check("nft delete table inet byway", "deleted table inet byway");
}

#[test]
fn a_flushed_ruleset_costs_us_nothing() {
    check("nft flush ruleset", "deleted table inet byway");
}

#[test]
fn a_flushed_table_gets_its_rules_back() {
    check("nft flush table inet byway", "deleted a rule of table inet byway");
}

#[test]
fn a_deleted_rule_comes_back() {
    check(
        "handle=$(nft -a list chain inet byway forward | sed -n 's/.*# handle //p' | tail -n 1)
         nft delete rule inet byway forward handle $handle",
        "deleted a rule of table inet byway",
    );
}

#[test]
fn a_rule_that_was_given_an_option_is_put_right() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    let deed = "
        handle=$(nft -a list chain inet byway leave | sed -n '/ip saddr.*oifname/s/.*# handle //p')
        nft replace rule inet byway leave handle $handle ip saddr @local4 oifname != @inside counter \
            masquerade random comment '\"byway: what leaves the cluster\"'";
    run(&lab, "docker41", deed);
    ear.until_blamed("deleted a rule of table inet byway");
    ear.until("the rule is as it was", || match run(&lab, "docker41", "nft list chain inet byway leave") {
        rules if rules.contains("random") => Err(rules),
        _ => Ok(()),
    });
    ear.until_at_rest();
    let repaired = agent(&lab, "docker41").last_repair.unwrap().steps;
    assert_eq!(repaired, ["put table inet byway because the rules of its chain leave differ"]);
}

#[test]
fn a_foreign_rule_in_our_chain_goes_again() {
    check("nft insert rule inet byway forward counter drop", "added a rule to table inet byway");
}

#[test]
fn a_foreign_chain_in_our_table_goes_again() {
    check("nft add chain inet byway mine", "added a chain to table inet byway");
}

#[test]
fn a_foreign_map_in_our_table_goes_again() {
    check("nft add map inet byway mine '{ type ipv4_addr : verdict; }'", "added a set to table inet byway");
}

#[test]
fn a_deleted_member_of_a_set_comes_back() {
    check(
        "nft delete element inet byway peers4 '{ 172.42.0.0/16 }'",
        "took members out of a set of table inet byway",
    );
}

#[test]
fn a_foreign_member_of_a_set_goes_again() {
    check("nft add element inet byway uplinks '{ docker0 }'", "added members to a set of table inet byway");
}

#[test]
fn a_foreign_prefix_in_a_set_goes_again() {
    check(
        "nft add element inet byway peers6 '{ 2001:db8::/32 }'",
        "added members to a set of table inet byway",
    );
}

#[test]
fn a_set_that_was_emptied_is_filled_again() {
    check("nft flush set inet byway local6", "took members out of a set of table inet byway");
}

#[test]
fn forwarding_switched_off_on_one_interface_is_switched_on_again() {
    check_setting(
        "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding",
        "put net.ipv4.conf.eth0.forwarding = 1 (was 0)",
    );
}

#[test]
fn forwarding_switched_off_for_the_whole_host_is_switched_on_where_it_is_needed() {
    check_setting(
        "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/ip_forward",
        "put net.ipv4.conf.docker0.forwarding = 1 (was 0)",
    );
}

#[test]
fn forwarding_of_ipv6_switched_off_on_one_interface_is_switched_on_again() {
    check_setting(
        "echo 0 > /proc/sys/net/ipv6/conf/docker0/force_forwarding",
        "put net.ipv6.conf.docker0.force_forwarding = 1 (was 0)",
    );
}

#[test]
fn forwarding_of_ipv6_switched_on_and_off_for_the_whole_host_stays_on_where_it_is_needed() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    let switch = |value: &str| {
        run(&lab, "docker41", &format!("echo {value} > /proc/sys/net/ipv6/conf/all/forwarding"));
        ear.until_at_rest();
        assert_reaching(&lab);
    };
    switch("1");
    switch("0");
    assert_well(&lab);
}

#[test]
fn forwarding_of_ipv6_for_all_interfaces_at_once_off_is_put_right() {
    check_setting(
        "echo 1 > /proc/sys/net/ipv6/conf/all/force_forwarding; echo 0 > /proc/sys/net/ipv6/conf/all/force_forwarding",
        "put net.ipv6.conf.eth0.force_forwarding = 1 (was 0)",
    );
}

#[test]
fn an_uplink_that_went_down_and_up_has_its_routes_again() {
    // The kernel takes the IPv6 address of a link that goes down; whoever gave it gives it again.
    check_link("ip link set eth0 down; ip link set eth0 up; ip -6 address replace fd00:199::41/64 dev eth0");
}

#[test]
fn a_bridge_that_went_down_and_up_has_its_routes_again() {
    check_link(
        "ip link set docker0 down; ip link set docker0 up; ip -6 address replace fd00:172:41::1/64 dev docker0",
    );
}

#[test]
fn a_bridge_that_was_deleted_and_made_again_has_its_routes_again() {
    check_link(
        "ip link del docker0
         ip link add bw-spare type bridge
         ip link add docker0 type bridge
         ip address add 172.41.0.1/16 dev docker0
         ip address add fd00:172:41::1/64 dev docker0 nodad
         ip link set vethc41 master docker0
         ip link set docker0 up",
    );
}

#[test]
fn a_bridge_that_gets_another_name_is_followed() {
    check_link(
        "ip link set docker0 down; ip link set docker0 name br-lan up; ip -6 address replace fd00:172:41::1/64 dev br-lan",
    );
}

#[test]
fn an_address_of_the_bridge_that_was_taken_and_given_again_is_spoken_with_again() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(
        &lab,
        "docker41",
        "ip address del 172.41.0.1/16 dev docker0; ip address del fd00:172:41::1/64 dev docker0",
    );
    ear.until("the host speaks with its own address", || {
        let routes = run(&lab, "docker41", "ip route show proto byway; ip -6 route show proto byway");
        if routes.lines().count() == 2 && !routes.contains("src") { Ok(()) } else { Err(routes) }
    });
    let waits = common::problems(&lab, "docker41");
    assert!(waits[0].starts_with("waits: no interface of this host holds 172.41.0.0/16 yet"), "{waits:?}");
    run(
        &lab,
        "docker41",
        "ip address add 172.41.0.1/16 dev docker0; ip address add fd00:172:41::1/64 dev docker0 nodad",
    );
    ear.until("the host speaks with the bridge's address", || {
        let routes = run(&lab, "docker41", "ip route show proto byway; ip -6 route show proto byway");
        let wanted = ["src 172.41.0.1", "src fd00:172:41::1"];
        if wanted.iter().all(|src| routes.contains(src)) { Ok(()) } else { Err(routes) }
    });
    ear.until_at_rest();
    until_reaching(&lab);
    assert_well(&lab);
}

#[test]
fn somebody_who_deletes_again_and_again_does_not_win() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(&lab, "docker41", "for nth in $(seq 300); do ip route del 172.42.0.0/16 2> /dev/null || true; done");
    ear.until_at_rest();
    assert_reaching(&lab);
    assert_well(&lab);
}

#[test]
fn what_happened_while_the_agent_could_not_listen_is_repaired_when_it_can() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    let looks = agent(&lab, "docker41").looks;
    lab.kill_agent("docker41", Signal::SIGSTOP).unwrap();
    // Far more notices than its sockets hold, so that the one about our route is lost.
    run(
        &lab,
        "docker41",
        "for high in $(seq 200); do
            for low in $(seq 250); do echo route add 10.$high.$low.0/24 via 192.168.199.42; done
         done | ip -batch -
         ip route del 172.42.0.0/16; nft delete table inet byway",
    );
    lab.kill_agent("docker41", Signal::SIGCONT).unwrap();
    ear.until("it says that it lost notices", || {
        let log = common::log(&lab, "docker41");
        if log.contains("the kernel had more notices than we could take") { Ok(()) } else { Err(log) }
    });
    ear.until_at_rest();
    assert_reaching(&lab);
    assert_well(&lab);
    let looks = agent(&lab, "docker41").looks - looks;
    assert!(looks < 200, "a burst is few looks, not {looks}");
}
