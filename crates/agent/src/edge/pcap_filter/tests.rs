//! What libpcap makes of a filter through us is what tcpdump prints for it.

use std::process::Command;

use super::*;

/// All that people write, and a few things that they do not.
const FILTERS: &str = "
    ip
    ip6
    arp
    icmp
    icmp6
    tcp
    udp
    sctp
    host 172.41.0.2
    not host 172.41.0.2
    src host 172.41.0.2 and dst host 172.42.0.2
    net 172.41.0.0/16
    src net 172.41.0.0/16 or dst net 172.42.0.0/16
    ip6 host fd00:172:41::2
    net fd00:172:41::/48
    port 3306
    tcp port 3306
    tcp dst port 80 or tcp dst port 443
    udp portrange 33434-33534
    tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
    tcp[tcpflags] == tcp-syn
    icmp[icmptype] = icmp-echoreply
    icmp6[icmp6type] == icmp6-echo
    ip[6:2] & 0x1fff != 0
    tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)
    len > 1000
    less 100
    greater 1400
    ether host 02:42:ac:29:00:02
    ether broadcast
    ether multicast
    ip multicast
    ether proto 0x86dd
    vlan
    vlan 41
    vlan 41 and host 172.41.0.2
    vlan and vlan and ip
    not vlan
    inbound
    outbound and tcp
    ip proto 89
    ip6 protochain 6
    ip[8] < 5
    mpls
    pppoes
    ";

fn filters() -> impl Iterator<Item = &'static str> {
    FILTERS.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// `tcpdump -ddd`: how many, and then one instruction on each line.
fn tcpdump(arguments: &[&str], filter: &str) -> Result<String, String> {
    let out = Command::new("tcpdump").args(arguments).args(["-ddd", filter]).output();
    let out = out.expect("this story compares with tcpdump: apt install tcpdump");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if out.status.success() { Ok(text(out.stdout)) } else { Err(text(out.stderr)) }
}

fn told(program: &Program) -> String {
    let line = |i: &crate::edge::watch::Instruction| format!("{} {} {} {}\n", i.code, i.jt, i.jf, i.k);
    let lines: String = program.instructions().iter().map(line).collect();
    format!("{}\n{lines}", program.instructions().len())
}

fn check(filter: &str, ours: Result<Program, FilterError>, theirs: Result<String, String>) {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(told(&ours), theirs, "{filter}"),
        (Err(FilterError::Refused { message, .. }), Err(theirs)) => {
            assert!(theirs.contains(&message), "{filter}: {message}: {theirs}");
        }
        (ours, theirs) => panic!("{filter}: {ours:?}: {theirs:?}"),
    }
}

#[test]
fn for_files_the_program_is_that_of_tcpdump() {
    for filter in filters() {
        check(filter, compile(filter, Dlt::ETHERNET, SNAPLEN_MAX), tcpdump(&["-y", "EN10MB"], filter));
        check(filter, compile(filter, Dlt::RAW_IP, SNAPLEN_MAX), tcpdump(&["-y", "RAW"], filter));
        check(filter, compile(filter, Dlt(113), 96), tcpdump(&["-y", "LINUX_SLL", "-s", "96"], filter));
    }
}

#[test]
fn for_interfaces_the_program_is_that_of_tcpdump() {
    in_a_namespace(|| {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        // The kernel runs no loops.
        for filter in filters().filter(|filter| !filter.contains("protochain")) {
            let ours = compile_live(filter, "lo", Dlt::ETHERNET, SNAPLEN_MAX);
            check(filter, ours, tcpdump(&["-i", "lo"], filter));
        }
    });
}

#[test]
fn a_vlan_of_an_interface_that_is_down_cannot_be_compiled_and_all_else_can() {
    in_a_namespace(|| {
        let refused = compile_live("vlan 5", "lo", Dlt::ETHERNET, 96).unwrap_err().to_string();
        assert!(refused.starts_with("compile a filter for lo: "), "{refused}");
        compile_live("tcp port 80", "lo", Dlt::ETHERNET, 96).unwrap();
    });
}

#[test]
fn what_libpcap_refuses_is_shown_with_its_place() {
    let refused = |text: &str| compile(text, Dlt::ETHERNET, 96).unwrap_err().to_string();
    assert_eq!(
        refused("tcp port nosuchport and ip"),
        "filter: unknown port 'nosuchport'\n  tcp port nosuchport and ip\n           ^^^^^^^^^^"
    );
    assert_eq!(
        refused("tcp and"),
        "filter: can't parse filter expression: syntax error\n  tcp and",
        "libpcap gives neither a word nor a place"
    );
    let why = refused("net 172.41.0.1/16");
    assert!(why.contains("non-network bits set in \"172.41.0.1/16\""), "{why}");
    assert!(why.ends_with("\n  net 172.41.0.1/16\n      ^^^^^^^^^^^^^"), "{why}");
}

#[test]
fn protochain_is_for_files() {
    compile("ip6 protochain 6", Dlt::ETHERNET, 96).unwrap();
    let refused = compile_live("ip6 protochain 6", "lo", Dlt::ETHERNET, 96).unwrap_err();
    assert!(matches!(refused, FilterError::Program { cause: BadProgram::Loop { .. }, .. }), "{refused:?}");
}

#[test]
fn hostile_texts_are_refused() {
    assert!(matches!(compile("tcp\0", Dlt::ETHERNET, 96), Err(FilterError::ZeroByte(3))));
    let long = "tcp or ".repeat(5000);
    assert!(matches!(compile(&long, Dlt::ETHERNET, 96), Err(FilterError::TooLong(35_000))));
    let deep = format!("{}tcp{}", "(".repeat(2000), ")".repeat(2000));
    compile(&deep, Dlt::ETHERNET, 96).unwrap();
}

#[test]
fn several_threads_may_compile() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for filter in filters() {
                    drop(compile(filter, Dlt::ETHERNET, 96));
                }
            });
        }
    });
}

fn in_a_namespace(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let own = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            own.expect("a network namespace of its own needs CAP_SYS_ADMIN; run the tests as root");
            test();
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
