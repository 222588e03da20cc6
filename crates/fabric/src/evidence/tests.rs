//! Which packets belong to a flow, and how steps are told.

use super::*;

fn packet(from: [u8; 4], to: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    bytes.extend([from, to].concat());
    bytes.extend([ports.0.to_be_bytes(), ports.1.to_be_bytes(), [0, 8], [0, 0]].concat());
    bytes
}

fn flow(port: Option<u16>) -> Flow {
    Flow { protocol: 17, ends: vec![End { address: "10.0.0.1".parse().unwrap(), port }] }
}

fn holds(flow: &Flow, bytes: &[u8]) -> bool {
    flow.holds(&Packet::decode(bytes).unwrap())
}

#[test]
fn a_packet_belongs_by_its_source_or_its_destination() {
    let (one, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    for (bytes, any_port, port_53) in [
        (packet(one, other, (53, 9)), true, true),
        (packet(other, one, (9, 53)), true, true),
        (packet(one, other, (9, 53)), true, false),
        (packet(other, other, (53, 53)), false, false),
    ] {
        assert_eq!((holds(&flow(None), &bytes), holds(&flow(Some(53)), &bytes)), (any_port, port_53));
    }
    let mut tcp = packet(one, other, (53, 9));
    tcp[9] = 6;
    assert!(!holds(&flow(None), &tcp));
}

#[test]
fn an_icmp_error_belongs_if_the_packet_that_it_is_about_does() {
    let about = packet([10, 0, 0, 1], [10, 0, 0, 2], (53, 9));
    let mut error =
        vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 8, 11, 0, 0, 0, 0, 0, 0, 0];
    error.extend(&about);
    assert!(holds(&flow(Some(53)), &error));
    assert!(!holds(&flow(Some(54)), &error));
}

#[test]
fn a_step_is_told_with_table_chain_rule_owner_and_verdict() {
    let mut step = RuleStep {
        family: "ip".to_owned(),
        table: "raw".to_owned(),
        chain: "PREROUTING".to_owned(),
        hook: None,
        priority: None,
        handle: Some(5),
        rule: Some("-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP".to_owned()),
        owner: Owner::Docker,
        verdict: Verdict::Drop,
    };
    let rule = "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP";
    assert_eq!(step.to_string(), format!("table ip raw, chain PREROUTING: {rule} (Docker): drop"));
    (step.rule, step.handle, step.verdict) = (None, None, Verdict::PolicyDrop);
    assert_eq!(step.to_string(), "table ip raw, chain PREROUTING: policy (Docker): policy drop");
    let json = serde_json::to_string(&step).unwrap();
    assert_eq!(serde_json::from_str::<RuleStep>(&json).unwrap(), step, "{json}");
}
