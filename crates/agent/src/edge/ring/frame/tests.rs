//! Blocks that no kernel would make.

use proptest::prelude::*;

use super::*;

/// A block with one frame after another, as the kernel lays them out.
fn block(frames: &[&[u8]]) -> Vec<u8> {
    let mut block = vec![0; 48];
    block[BLOCK_FRAMES_AT..][..4].copy_from_slice(&u32::try_from(frames.len()).unwrap().to_ne_bytes());
    block[BLOCK_FIRST_AT..][..4].copy_from_slice(&48_u32.to_ne_bytes());
    for (nth, bytes) in frames.iter().enumerate() {
        let start = block.len();
        let room = (HEADER_BYTES + bytes.len()).next_multiple_of(16);
        block.resize(start + room, 0);
        let mut put = |at: usize, value: u32| {
            block[start + at..][..4].copy_from_slice(&value.to_ne_bytes());
        };
        let len = u32::try_from(bytes.len()).unwrap();
        put(NEXT_AT, if nth + 1 == frames.len() { 0 } else { u32::try_from(room).unwrap() });
        put(SECONDS_AT, 7);
        put(KEPT_AT, len);
        put(LENGTH_AT, len);
        block[start + MAC_AT..][..2].copy_from_slice(&u16::try_from(HEADER_BYTES).unwrap().to_ne_bytes());
        block[start + HEADER_BYTES..][..bytes.len()].copy_from_slice(bytes);
    }
    block
}

/// All frames of a block, up to the first that cannot be read.
fn read(block: &[u8]) -> (Vec<Vec<u8>>, Option<BadBlock>) {
    let (mut cursor, mut frames) = (Cursor::start(block), Vec::new());
    while cursor.left > 0 {
        match cursor.read(block) {
            Ok((header, next)) => {
                frames.push(header.frame(block).unwrap().bytes.to_vec());
                cursor = next;
            }
            Err(bad) => return (frames, Some(bad)),
        }
    }
    (frames, None)
}

#[test]
fn frames_come_in_the_order_of_the_block() {
    let (frames, bad) = read(&block(&[b"one", b"", b"three"]));
    assert_eq!((frames, bad), (vec![b"one".to_vec(), Vec::new(), b"three".to_vec()], None));
}

#[test]
fn a_frame_that_goes_on_behind_the_end_is_refused_with_its_place() {
    let mut block = block(&[b"one"]);
    block[48 + KEPT_AT..][..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    let told = read(&block).1.unwrap().to_string();
    assert_eq!(told, format!("byte 48 of a block of {}: a frame goes on behind the end", block.len()));
}

#[test]
fn a_frame_that_follows_itself_is_refused() {
    let mut block = block(&[b"one", b"two"]);
    block[48..52].copy_from_slice(&0_u32.to_ne_bytes());
    assert_eq!(read(&block).1.unwrap().what, "the next frame would be inside of this one's header");
}

#[test]
fn the_tag_is_put_back_between_addresses_and_type() {
    let bytes: Vec<u8> = (0..20).collect();
    let block = block(&[&bytes]);
    let (header, _) = Cursor::start(&block).read(&block).unwrap();
    let mut frame = header.frame(&block).unwrap();
    let mut room = vec![0xaa; 3];
    assert_eq!(frame.whole(&mut room), (&bytes[..], 20));
    frame.vlan = Some(Vlan { ethertype: 0x88a8, tag: 0x6029 });
    let tagged = [&bytes[..12], &[0x88, 0xa8, 0x60, 0x29], &bytes[12..]].concat();
    assert_eq!(frame.whole(&mut room), (&tagged[..], 24));
    frame.bytes = &bytes[..11];
    assert_eq!(frame.whole(&mut room).0, &bytes[..11], "cut inside of the addresses");
}

proptest! {
    #[test]
    fn any_block_is_read_without_panic(
        mut block in prop::collection::vec(any::<u8>(), 0..512),
        first in 0_u32..600,
        frames in 0_u32..2000,
    ) {
        if block.len() >= 20 {
            block[BLOCK_FRAMES_AT..][..4].copy_from_slice(&frames.to_ne_bytes());
            block[BLOCK_FIRST_AT..][..4].copy_from_slice(&first.to_ne_bytes());
        }
        let (read, _) = read(&block);
        // Frames may overlap, but each is at least a header further on.
        prop_assert!(read.len() <= block.len() / HEADER_BYTES + 1);
    }
}
