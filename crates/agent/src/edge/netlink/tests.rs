//! A dump is whole or an error, whatever the datagrams are.

use super::*;

/// The conversation that is heard.
const OURS: u32 = 7;
/// `NLMSG_*` of `linux/netlink.h`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const OVERRUN: u16 = 4;

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    message.extend([sequence.to_ne_bytes(), [0; 4]].concat());
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn entry(nth: u8) -> Vec<u8> {
    message(libc::RTM_NEWROUTE, 2, OURS, &[nth; 12])
}

fn done(code: i32) -> Vec<u8> {
    message(DONE, 2, OURS, &code.to_ne_bytes())
}

fn error(code: i32) -> Vec<u8> {
    message(ERROR, 0, OURS, &[code.to_ne_bytes().as_slice(), &[0; 16]].concat())
}

/// What comes of a dump that is told in these datagrams: its entries, or the error and its cause.
fn check(datagrams: &[Vec<u8>], expected: &str) {
    let mut dump = Dump::new(OURS);
    let read = |_, body: &[u8]| Ok(Some(body[0]));
    let outcome = datagrams.iter().try_for_each(|datagram| dump.read(datagram, read));
    let told = match outcome {
        Ok(()) if dump.interrupted => format!("interrupted {:?}", dump.entries),
        Ok(()) if dump.done => format!("whole {:?}", dump.entries),
        Ok(()) => format!("waits {:?}", dump.entries),
        Err(error) => crate::error::chain(&error),
    };
    assert_eq!(told, expected);
}

#[test]
fn a_dump_is_whole_when_the_kernel_says_done() {
    check(&[[entry(1), entry(2)].concat(), [entry(3), done(0)].concat()], "whole [1, 2, 3]");
    check(&[done(0)], "whole []");
    check(&[entry(1)], "waits [1]");
}

#[test]
fn a_dump_that_ends_with_an_error_is_no_short_list() {
    let out_of_memory = "the dump stopped after 2 entries: Cannot allocate memory (os error 12)";
    check(&[[entry(1), entry(2), done(-libc::ENOMEM)].concat()], out_of_memory);
    check(&[[entry(1), entry(2)].concat(), error(-libc::ENOMEM), done(0)], out_of_memory);
    check(
        &[[entry(1), message(OVERRUN, 0, OURS, &[0; 4]), done(0)].concat()],
        "the dump stopped after 1 entries: No buffer space available (os error 105)",
    );
    check(&[error(-libc::EPERM)], "the dump stopped after 0 entries: Operation not permitted (os error 1)");
}

#[test]
fn a_table_that_changed_under_the_reader_is_told() {
    let interrupted = message(libc::RTM_NEWROUTE, 2 | NLM_F_DUMP_INTR, OURS, &[2; 12]);
    check(&[[entry(1), interrupted, done(0)].concat()], "interrupted [1, 2]");
    check(&[entry(1), message(DONE, NLM_F_DUMP_INTR, OURS, &[0; 4])], "interrupted [1]");
}

#[test]
fn answers_to_other_questions_are_not_taken() {
    let others = [
        message(libc::RTM_NEWROUTE, 2, OURS - 1, &[9; 12]),
        message(DONE, 2, OURS - 1, &[0; 4]),
        message(ERROR, 0, OURS + 1, &[255; 20]),
        message(libc::RTM_NEWROUTE, 2, 0, &[9; 12]),
    ];
    check(&[others.concat(), entry(1)], "waits [1]");
    check(&[others.concat(), entry(1), done(0)], "whole [1]");
}

#[test]
fn a_datagram_that_was_cut_is_an_error_wherever_it_was_cut() {
    let whole = [entry(1), done(0)].concat();
    let ends = [0, entry(1).len(), whole.len()];
    for length in (0..whole.len()).filter(|length| !ends.contains(length)) {
        let mut dump = Dump::new(OURS);
        let outcome = dump.read(&whole[..length], |_, _| Ok(Some(())));
        assert!(outcome.is_err() && !dump.done, "{length} bytes: {outcome:?}");
    }
}

#[test]
fn a_datagram_that_lies_never_makes_a_panic() {
    let whole = [entry(1), error(-1), done(0)].concat();
    for at in 0..whole.len() {
        for lie in [0, 1, 15, 17, 127, 128, 255] {
            let mut bent = whole.clone();
            bent[at] = lie;
            let _ = Dump::new(OURS).read(&bent, |_, body| Ok(Some(body.len())));
            Messages::<RouteNetlinkMessage>::new(&bent).for_each(drop);
        }
    }
}

#[test]
fn the_reader_of_entries_can_end_a_dump() {
    let mut dump = Dump::new(OURS);
    let refuse = |_, _: &[u8]| Err::<Option<()>, _>(NetlinkError::Decode("no route".to_owned()));
    let outcome = dump.read(&[entry(1), done(0)].concat(), refuse);
    assert!(outcome.is_err() && !dump.done, "{outcome:?}");
}
