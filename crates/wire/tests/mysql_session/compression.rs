//! What is compressed: opened, whatever its segments are; and what it costs when some is lost or damaged.

use byway_wire::mysql::Role;

use super::lines;
use super::scene::{self, Sent, packets, watched};

#[test]
fn two_lost_answers_in_a_row_are_two_even_when_compressed() {
    // Each frame is stored: its own length and sequence, and no length when opened.
    let framed = |role, sequence: u8, packets: &str| {
        let inner =
            packets.lines().flat_map(|line| scene::packets(line).remove(0).bytes).collect::<Vec<u8>>();
        let length = u32::try_from(inner.len()).unwrap().to_le_bytes();
        let bytes = [&length[..3], &[sequence, 0, 0, 0], &inner].concat();
        Sent { role, seen: bytes.len(), bytes }
    };
    let answer = || framed(Role::Server, 1, "s hex 00 07 00 02 00 00 00");
    let mut sent = packets("s greeting 8.4.0\n c login alice shop +zlib\n s ok");
    for nth in 0..4 {
        sent.push(framed(Role::Client, 0, &format!("c query do {nth}")));
        let mut answer = answer();
        answer.bytes[10] = 1;
        answer.seen = if nth == 1 || nth == 2 { 0 } else { answer.bytes.len() };
        sent.push(answer);
    }
    let story = watched(&sent, false);
    let unseen = "-> unseen [no answer was seen]";
    assert_eq!(
        story.split_once("compressed Zlib\n").unwrap().1.trim_end(),
        lines(&format!(
            "shop: Query do 0 -> ok, 7 affected
             missed 18 bytes of the Server: Lost
             shop: Query do 1 {unseen}
             missed 18 bytes of the Server: Lost
             shop: Query do 2 {unseen}
             shop: Query do 3 -> ok, 7 affected"
        ))
    );
}

#[test]
fn both_compressions_are_opened_and_damage_costs_one_statement() {
    for (flag, name) in [("+zlib", "Zlib"), ("+zstd", "Zstd")] {
        let mut sent = packets(&format!("s greeting 8.4.0\n c login alice shop {flag}\n s ok"));
        for nth in 0..3 {
            let mut request =
                compressed(Role::Client, 0, name, &format!("c query do {nth} {}", "and so on ".repeat(20)));
            if nth == 1 {
                // The first byte behind the header is the beginning of a mark in both.
                request.bytes[7] ^= 0xff;
            }
            sent.push(request);
            sent.push(stored_answer());
        }
        let story = watched(&sent, false).replace("and so on ", "");
        let (_, told) = story.split_once("compressed ").unwrap();
        let expected = format!(
            "{name}
             shop: Query do 0 -> ok, 7 affected
             missed 209 bytes of the Client: Damaged
             missed 11 bytes of the Server: WithoutRequest
             shop: Query do 2 -> ok, 7 affected [user, database or character set may have changed]"
        );
        assert_eq!(told.trim_end(), lines(&expected));
    }
}

#[test]
fn a_large_frame_is_opened_as_it_comes_and_what_is_lost_of_it_is_told() {
    let noise = (0_u32..100_000)
        .fold(String::new(), |noise, nth| noise + &format!("{:x}", nth.wrapping_mul(2_654_435_761)));
    let large = compressed(Role::Client, 0, "Zlib", &format!("c query do {noise}"));
    let next = compressed(Role::Client, 0, "Zlib", "c query do the next");
    let told = |piece: usize, harm: &dyn Fn(usize, &mut Sent)| {
        let mut sent = packets("s greeting 8.4.0\n c login alice shop +zlib\n s ok");
        for (nth, bytes) in large.bytes.chunks(piece).enumerate() {
            let mut part = Sent { role: Role::Client, seen: bytes.len(), bytes: bytes.to_vec() };
            harm(nth, &mut part);
            sent.push(part);
        }
        sent.extend([stored_answer(), Sent { bytes: next.bytes.clone(), ..next }, stored_answer()]);
        let story = watched(&sent, false);
        story.split_once("compressed Zlib\n").unwrap().1.trim_end().to_owned()
    };
    let whole = lines(&format!(
        "shop: Query do {noise} -> ok, 7 affected\nshop: Query do the next -> ok, 7 affected"
    ));
    for piece in [1_000, 1_460, 65_536, 65_537, usize::MAX] {
        assert!(told(piece, &|_, _| {}) == whole, "in segments of {piece} bytes");
    }
    // What came before the hole is right, letter for letter.
    let lost = told(1_460, &|nth, part| {
        if nth == 100 {
            part.seen = 0;
        }
    });
    let beginning =
        lost.split("Query do ").nth(1).unwrap().split(|letter: char| !letter.is_ascii_hexdigit()).next();
    let beginning = beginning.filter(|beginning| noise.starts_with(beginning)).unwrap();
    assert_eq!(
        lost.replace(beginning, "(beginning)"),
        lines(
            "missed 1460 bytes of the Client: Lost
             missed 537515 bytes of the Client: Damaged
             shop: Query do (beginning) <537515 missing at 255818> -> ok, 7 affected [bytes of the request were not seen]
             shop: Query do the next -> ok, 7 affected"
        )
    );
    let damaged = told(1_460, &|nth, part| {
        if nth == 0 {
            part.bytes[7] ^= 0xff;
        }
    });
    assert_eq!(
        damaged,
        lines(
            "missed 793338 bytes of the Client: Damaged
             missed 11 bytes of the Server: WithoutRequest
             shop: Query do the next -> ok, 7 affected [user, database or character set may have changed]"
        )
    );
}

#[test]
fn a_frame_that_ends_before_its_length_is_told_to_the_byte() {
    // 68 KiB are in it, and 8 KiB more are promised: the message goes on behind them, in the next frame.
    let text = [b"\x03do ".to_vec(), (b'a'..=b'z').cycle().take(80 << 10).collect()].concat();
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    let message = [&length[..3], &[0], &text].concat();
    let mut short = sealed(Role::Client, 0, "Zlib", &message[..68 << 10]);
    let promised = u32::to_le_bytes(76 << 10);
    short.bytes[4..7].copy_from_slice(&promised[..3]);
    let mut sent = packets("s greeting 8.4.0\n c login alice shop +zlib\n s ok");
    sent.extend([short, sealed(Role::Client, 1, "Zlib", &message[76 << 10..]), stored_answer()]);
    let story = watched(&sent, false);
    let (before, after) = story.split_once("do abc").unwrap();
    assert!(before.contains("missed 8192 bytes of the Client: Damaged"), "{before}");
    // A message's header has four bytes, and its command one.
    let missing = format!("<8192 missing at {}> -> ok, 7 affected", (68 << 10) - 5);
    assert!(after.contains(&missing), "it ends with {:?}", after.rsplit_once('<'));
}

#[test]
fn within_a_frame_no_message_is_looked_for() {
    // The second frame goes on where the first, which is lost, left off; what is behind 64 KiB of it looks like a ping.
    let mut inner = vec![0xff; 65_536];
    inner.extend(b"\x01\0\0\0\x0e");
    let mut sent = packets("s greeting 8.4.0\n c login alice shop +zlib\n s ok");
    let lost = compressed(Role::Client, 0, "Zlib", "c query do what is lost");
    sent.push(Sent { seen: 0, ..lost });
    sent.push(sealed(Role::Client, 0, "Zlib", &inner));
    let story = watched(&sent, false);
    assert!(story.ends_with("missed 65541 bytes of the Client: Unaligned\n"), "{story}");
}

/// `ok, 7 affected` in a frame that is not compressed.
fn stored_answer() -> Sent {
    let mut answer = packets("c ping\n s ok 7").remove(1);
    let length = u32::try_from(answer.bytes.len()).unwrap().to_le_bytes();
    answer.bytes = [&length[..3], &[1, 0, 0, 0], &answer.bytes].concat();
    Sent { seen: answer.bytes.len(), ..answer }
}

/// The first packet of a scene, compressed.
fn compressed(role: Role, sequence: u8, name: &str, scene: &str) -> Sent {
    sealed(role, sequence, name, &packets(scene).remove(0).bytes)
}

/// A frame with these bytes in it.
fn sealed(role: Role, sequence: u8, name: &str, inner: &[u8]) -> Sent {
    let sealed = if name == "Zlib" {
        let mut sealed = Vec::new();
        let mut reader = flate2::bufread::ZlibEncoder::new(inner, flate2::Compression::default());
        std::io::Read::read_to_end(&mut reader, &mut sealed).unwrap();
        sealed
    } else {
        ruzstd::encoding::compress_to_vec(inner, ruzstd::encoding::CompressionLevel::Fastest)
    };
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let bytes = [&number(sealed.len())[..3], &[sequence], &number(inner.len())[..3], &sealed].concat();
    Sent { role, seen: bytes.len(), bytes }
}
