//! Labs on the real kernel: what stands in them, and who reaches whom.

mod common;

use byway_lab::{Lab, Spread, Topology};
use common::{bare, output, reaches};

#[test]
fn two_hosts_reach_each_other_and_containers_reach_their_bridge_but_no_further() {
    let lab = bare(&Topology::two_hosts());
    for (from, to) in [
        ("docker41", "192.168.199.42"),
        ("docker41", "fd00:199::42"),
        ("docker42", "docker41"),
        ("c41", "172.41.0.1"),
        ("c41", "fd00:172:41::1"),
        ("docker42", "172.42.0.2"),
        ("docker42", "fd00:172:42::2"),
    ] {
        assert!(reaches(&lab, from, to), "{from} reaches {to}");
    }
    for (from, to) in [("c41", "172.42.0.2"), ("c41", "fd00:172:42::2"), ("docker41", "172.42.0.2")] {
        assert!(!reaches(&lab, from, to), "{from} does not reach {to}");
    }
}

#[test]
fn a_router_joins_two_segments() {
    let lab = bare(&Spread { hosts: 2, containers: 1, segments: 2 }.topology());
    for (from, to) in [
        ("docker41", "192.168.198.42"),
        ("docker41", "fd00:198::42"),
        ("docker42", "router"),
        ("router", "fd00:199::41"),
    ] {
        assert!(reaches(&lab, from, to), "{from} reaches {to}");
    }
    assert!(output(&lab, "docker41", &["ping", "-c1", "-W1", "192.168.198.42"]).contains("ttl=63"));
}

#[test]
fn a_host_has_its_own_name_files_and_interfaces() {
    let lab = bare(&Topology::two_hosts());
    let tell = |node: &str, script: &str| output(&lab, node, &["sh", "-c", script]);
    assert_eq!(tell("docker41", "hostname; cat /etc/byway/byway.toml"), "docker41\nhost = \"docker41\"\n");
    let inventory = tell("docker42", "cat /etc/byway/inventory.toml");
    assert_eq!(inventory, tell("docker41", "cat /etc/byway/inventory.toml"), "the same on every host");
    let (keys, rest): (Vec<&str>, Vec<&str>) = inventory.lines().partition(|line| line.starts_with("key = "));
    let bare = Topology::two_hosts().inventory().unwrap();
    assert_eq!(rest, bare.lines().collect::<Vec<_>>());
    assert_eq!(keys.len(), 2, "each host has a key");
    assert_eq!(tell("docker41", "ls /sys/class/net"), "docker0\neth0\nlo\nvethc41\n");
    assert_eq!(tell("c41", "ls /sys/class/net; hostname"), "eth0\nlo\nc41\n");
    assert_eq!(tell("switch", "ls /sys/class/net"), "docker41\ndocker42\nlan\nlo\n");
    assert_eq!(
        tell("docker41", "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"),
        "0\n0\n"
    );
    assert_eq!(tell("docker41", "test -d /sys/fs/cgroup && ls /run"), "byway\nlab-notify\nnetns\n");
    assert_eq!(tell("docker41", "cat /proc/1/comm; echo $(( $$ > 1 ))").lines().last(), Some("1"));
}

#[test]
fn what_a_host_writes_stays_in_it() {
    let lab = bare(&Topology::two_hosts());
    let write = "echo own | tee /etc/byway/mine /var/lib/lab-mine /run/mine /etc/iproute2/rt_protos.d/mine";
    output(&lab, "docker41", &["sh", "-c", write]);
    for path in ["/etc/byway/mine", "/var/lib/lab-mine", "/run/mine", "/etc/iproute2/rt_protos.d/mine"] {
        assert_eq!(output(&lab, "docker41", &["cat", path]), "own\n");
        assert!(
            !lab.command("docker42", "cat").arg(path).output().unwrap().status.success(),
            "{path} in docker42"
        );
        assert!(!std::path::Path::new(path).exists(), "{path} on the machine");
    }
}

#[test]
fn an_exit_status_comes_out_as_it_is() {
    let lab = bare(&Topology::two_hosts());
    let status = |script: &str| lab.command("c41", "sh").args(["-c", script]).status().unwrap().code();
    assert_eq!(status("exit 0"), Some(0));
    assert_eq!(status("exit 7"), Some(7));
    assert_eq!(status("kill -TERM $$"), Some(128 + 15));
}

#[test]
fn an_unknown_node_is_answered_with_those_there_are() {
    let lab = bare(&Topology::two_hosts());
    let out = lab.command("c43", "true").output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.contains("there is no node c43 (did you mean c4"), "{told}");
    assert!(told.contains("there are: switch, docker41, c41, docker42, c42"), "{told}");
}

#[test]
fn a_socket_opened_in_a_node_can_be_carried_out() {
    let lab = bare(&Topology::two_hosts());
    let listener =
        lab.inside("docker42", || std::net::TcpListener::bind("192.168.199.42:7")).unwrap().unwrap();
    let connect =
        || std::net::TcpStream::connect("192.168.199.42:7").map(|stream| stream.local_addr().unwrap());
    let from = lab.inside("docker41", connect).unwrap().unwrap();
    assert_eq!(listener.accept().unwrap().1, from);
    let socket = lab.socket("c42", libc::AF_INET, libc::SOCK_DGRAM, 0).unwrap();
    std::net::UdpSocket::from(socket).connect("172.42.0.1:9").unwrap();
}

#[test]
fn a_second_lab_of_the_same_name_is_refused() {
    let lab = bare(&Topology::two_hosts());
    let options = byway_lab::Options::named(lab.name(), common::STAND_IN.as_ref()).without_agents();
    let error = Lab::up(&Topology::two_hosts(), &options, |_| {}).unwrap_err();
    assert!(error.to_string().contains("is up already"), "{error:#}");
    assert!(reaches(&lab, "docker41", "docker42"), "the first still stands");
}

#[test]
fn a_lab_that_is_not_there_is_named_with_what_to_do() {
    let error = byway_lab::Holder::find("nowhere").unwrap_err();
    assert_eq!(error.to_string(), "there is no lab called nowhere (`byway lab up` makes one)");
}

#[test]
fn a_lab_with_flaws_is_not_begun() {
    let mut topology = Topology::two_hosts();
    topology.hosts[1].name = "docker41".into();
    let options = byway_lab::Options::private(common::STAND_IN.as_ref());
    let error = Lab::up(&topology, &options, |_| {}).unwrap_err();
    assert!(error.to_string().contains("two are called docker41"), "{error:#}");
}

#[test]
fn forty_hosts_with_two_containers_each_stand() {
    let mut last = None;
    let options = byway_lab::Options::private(common::STAND_IN.as_ref()).without_agents();
    let topology = Spread { hosts: 40, containers: 2, segments: 1 }.topology();
    let lab = Lab::up(&topology, &options, |progress| last = Some((progress.done, progress.total))).unwrap();
    assert_eq!(last, Some((240, 240)));
    assert_eq!(lab.status().unwrap().nodes.len(), 121);
    assert!(reaches(&lab, "docker41", "192.168.199.80"));
    assert!(reaches(&lab, "c80-2", "172.80.0.2"));
    lab.down().unwrap();
}
