//! A filter in the kernel's own form (classic BPF), checked once and then run on the packets of files.
//!
//! A checked program stays inside of itself and ends in a return, so running it is total. Only `protochain` jumps
//! backwards: that ends after a number of steps whatever the packet is, and the kernel takes no such program. What
//! every instruction does is libpcap's `bpf_filter.c`.

use crate::edge::watch::Instruction;

/// The most instructions: as many as the kernel takes (`BPF_MAXINSNS` of `linux/bpf_common.h`).
pub const INSTRUCTIONS_MAX: usize = 4096;
/// The most steps of a program that jumps backwards: `protochain` needs a dozen for each header of a packet, and a
/// packet has room for 8192 of them.
const STEPS_MAX: usize = 12 * 8192;
/// The words of scratch memory of a program (`BPF_MEMWORDS`).
const SCRATCH_WORDS: usize = 16;

/// A filter that was checked: it ends, and touches nothing but the packet and its own scratch memory.
#[derive(Debug, Clone)]
pub struct Program {
    instructions: Vec<Instruction>,
}

/// Why a list of instructions is no program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProgram {
    /// There is nothing in it.
    #[error("the program is empty")]
    Empty,
    /// It is longer than the kernel takes.
    #[error("the program has {0} instructions, {INSTRUCTIONS_MAX} is the most")]
    TooLong(usize),
    /// An instruction that classic BPF does not have.
    #[error("instruction {at}: there is no code {code:#06x}")]
    UnknownCode {
        /// Which, from 0.
        at: usize,
        /// Its code.
        code: u16,
    },
    /// A jump behind the end or before the start.
    #[error("instruction {at}: jumps out of the program")]
    Jump {
        /// Which, from 0.
        at: usize,
    },
    /// A word of scratch memory that is not there, or a division by a constant 0, or a shift by more than 31.
    #[error("instruction {at}: {k} is out of range")]
    Operand {
        /// Which, from 0.
        at: usize,
        /// The operand.
        k: u32,
    },
    /// A jump backwards, which the kernel does not do.
    #[error(
        "instruction {at}: jumps backwards (protochain does), which the kernel does not do; files can be filtered so"
    )]
    Loop {
        /// Which, from 0.
        at: usize,
    },
    /// The last instruction goes on behind the end.
    #[error("the program does not end in a return")]
    NoReturn,
}

impl Program {
    /// Checks instructions, as from libpcap or `tcpdump -dd`.
    ///
    /// # Errors
    /// See [`BadProgram`].
    pub fn new(instructions: Vec<Instruction>) -> Result<Self, BadProgram> {
        match instructions.len() {
            0 => return Err(BadProgram::Empty),
            1..=INSTRUCTIONS_MAX => {}
            more => return Err(BadProgram::TooLong(more)),
        }
        for (at, instruction) in instructions.iter().copied().enumerate() {
            check(at, instruction, instructions.len())?;
        }
        match instructions.last() {
            Some(last) if class(*last) == libc::BPF_RET => Ok(Self { instructions }),
            _ => Err(BadProgram::NoReturn),
        }
    }

    /// The program that takes everything, cut to `snaplen` bytes (1 and more; 0 would take nothing).
    #[must_use]
    pub fn everything(snaplen: u32) -> Self {
        Self { instructions: vec![returning(snaplen)] }
    }

    /// The program that takes nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self { instructions: vec![returning(0)] }
    }

    /// Its instructions: 1 to [`INSTRUCTIONS_MAX`].
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The same program, if the kernel runs it: without jumps backwards.
    ///
    /// # Errors
    /// [`BadProgram::Loop`].
    pub fn for_kernel(self) -> Result<Self, BadProgram> {
        match self.instructions.iter().position(|instruction| is_backwards(*instruction)) {
            Some(at) => Err(BadProgram::Loop { at }),
            None => Ok(self),
        }
    }

    /// Runs it on the bytes of a packet that had `wire_len` bytes on the link: how many bytes of it to keep, 0 if it
    /// does not match.
    ///
    /// What only the kernel knows of a packet (its direction, the VLAN tag it took out) is not in the bytes: a
    /// program that asks for it matches nothing, as with libpcap on files. Compile filters for files with
    /// [`super::compile`].
    #[must_use]
    pub fn matches(&self, bytes: &[u8], wire_len: u32) -> u32 {
        Machine { bytes, wire_len, a: 0, x: 0, scratch: [0; SCRATCH_WORDS] }.run(&self.instructions)
    }
}

fn returning(k: u32) -> Instruction {
    // BPF_RET | BPF_K is 6.
    Instruction { code: 6, jt: 0, jf: 0, k }
}

fn class(instruction: Instruction) -> u32 {
    u32::from(instruction.code) & 0x07
}

fn check(at: usize, instruction: Instruction, len: usize) -> Result<(), BadProgram> {
    let code = u32::from(instruction.code);
    let unknown = BadProgram::UnknownCode { at, code: instruction.code };
    let k = instruction.k;
    let out_of_range = BadProgram::Operand { at, k };
    let scratch = usize::try_from(k).is_ok_and(|word| word < SCRATCH_WORDS);
    let lands = |by: u32| usize::try_from(by).is_ok_and(|by| by < len - at - 1);
    match class(instruction) {
        libc::BPF_LD | libc::BPF_LDX if !is_load(code) => Err(unknown),
        libc::BPF_LD | libc::BPF_LDX if code & 0xe0 == libc::BPF_MEM && !scratch => Err(out_of_range),
        libc::BPF_ST | libc::BPF_STX if code & !0x07 != 0 => Err(unknown),
        libc::BPF_ST | libc::BPF_STX if !scratch => Err(out_of_range),
        libc::BPF_ALU => check_arithmetic(code, k, unknown, out_of_range),
        libc::BPF_JMP => match code & 0xf0 {
            libc::BPF_JA if code != libc::BPF_JMP | libc::BPF_JA => Err(unknown),
            libc::BPF_JA if is_backwards(instruction) && lands_before(at, k) => Ok(()),
            libc::BPF_JA if !lands(k) => Err(BadProgram::Jump { at }),
            libc::BPF_JA => Ok(()),
            libc::BPF_JEQ | libc::BPF_JGT | libc::BPF_JGE | libc::BPF_JSET => {
                let both = lands(instruction.jt.into()) && lands(instruction.jf.into());
                if both { Ok(()) } else { Err(BadProgram::Jump { at }) }
            }
            _ => Err(unknown),
        },
        libc::BPF_RET if !matches!(code & 0xf8, libc::BPF_K | libc::BPF_A) => Err(unknown),
        libc::BPF_MISC if !matches!(code & 0xf8, libc::BPF_TAX | libc::BPF_TXA) => Err(unknown),
        // A code has 16 bits; all that classic BPF has are in the lower 8.
        _ if code > 0xff => Err(unknown),
        _ => Ok(()),
    }
}

/// `pcap/bpf.h` has the distance of this one jump as a signed number.
fn is_backwards(instruction: Instruction) -> bool {
    u32::from(instruction.code) == libc::BPF_JMP | libc::BPF_JA && instruction.k.cast_signed() < 0
}

fn lands_before(at: usize, k: u32) -> bool {
    usize::try_from(k.cast_signed().unsigned_abs()).is_ok_and(|back| back <= at + 1)
}

fn check_arithmetic(
    code: u32,
    k: u32,
    unknown: BadProgram,
    out_of_range: BadProgram,
) -> Result<(), BadProgram> {
    let constant = code & 0x08 == libc::BPF_K;
    match code & 0xf0 {
        _ if code > 0xff => Err(unknown),
        libc::BPF_DIV | libc::BPF_MOD if constant && k == 0 => Err(out_of_range),
        libc::BPF_LSH | libc::BPF_RSH if constant && k > 31 => Err(out_of_range),
        libc::BPF_NEG if !constant => Err(unknown),
        operation if operation <= libc::BPF_XOR => Ok(()),
        _ => Err(unknown),
    }
}

const LD: u32 = libc::BPF_LD;
const LDX: u32 = libc::BPF_LDX;
const W: u32 = libc::BPF_W;
const H: u32 = libc::BPF_H;
const B: u32 = libc::BPF_B;

const LOAD_WORD: u32 = LD | W | libc::BPF_ABS;
const LOAD_HALF: u32 = LD | H | libc::BPF_ABS;
const LOAD_BYTE: u32 = LD | B | libc::BPF_ABS;
const LOAD_WORD_FROM_X: u32 = LD | W | libc::BPF_IND;
const LOAD_HALF_FROM_X: u32 = LD | H | libc::BPF_IND;
const LOAD_BYTE_FROM_X: u32 = LD | B | libc::BPF_IND;
const LOAD_LENGTH: u32 = LD | W | libc::BPF_LEN;
const LOAD_CONSTANT: u32 = LD | libc::BPF_IMM;
const LOAD_SCRATCH: u32 = LD | libc::BPF_MEM;
const X_CONSTANT: u32 = LDX | libc::BPF_IMM;
const X_SCRATCH: u32 = LDX | libc::BPF_MEM;
const X_LENGTH: u32 = LDX | W | libc::BPF_LEN;
/// Four times the lower half of a byte: the length of an IPv4 header.
const X_HEADER_LENGTH: u32 = LDX | B | libc::BPF_MSH;

fn is_load(code: u32) -> bool {
    matches!(
        code,
        LOAD_WORD
            | LOAD_HALF
            | LOAD_BYTE
            | LOAD_WORD_FROM_X
            | LOAD_HALF_FROM_X
            | LOAD_BYTE_FROM_X
            | LOAD_LENGTH
            | LOAD_CONSTANT
            | LOAD_SCRATCH
            | X_CONSTANT
            | X_SCRATCH
            | X_LENGTH
            | X_HEADER_LENGTH
    )
}

/// The two registers and the scratch memory, beside the packet.
struct Machine<'a> {
    bytes: &'a [u8],
    wire_len: u32,
    a: u32,
    x: u32,
    scratch: [u32; SCRATCH_WORDS],
}

impl Machine<'_> {
    fn run(&mut self, instructions: &[Instruction]) -> u32 {
        let mut at: usize = 0;
        for _ in 0..STEPS_MAX {
            let Some(instruction) = instructions.get(at).copied() else { return 0 };
            at += 1;
            match self.step(instruction) {
                Some(Next::Skip(by)) => at = at.saturating_add_signed(by),
                Some(Next::Return(keep)) => return keep,
                // A load from behind the packet's end or a division by 0: no match.
                None => return 0,
            }
        }
        0
    }

    fn step(&mut self, instruction: Instruction) -> Option<Next> {
        let (code, k) = (u32::from(instruction.code), instruction.k);
        match code & 0x07 {
            libc::BPF_LD => self.a = self.load(code, k)?,
            libc::BPF_LDX => self.x = self.load(code, k)?,
            libc::BPF_ST => *self.word(k)? = self.a,
            libc::BPF_STX => *self.word(k)? = self.x,
            libc::BPF_ALU => self.a = arithmetic(code & 0xf0, self.a, self.operand(code, k))?,
            libc::BPF_JMP => return Some(Next::Skip(self.jump(instruction))),
            libc::BPF_RET => return Some(Next::Return(if code & 0x18 == libc::BPF_A { self.a } else { k })),
            _ if code & 0xf8 == libc::BPF_TXA => self.a = self.x,
            _ => self.x = self.a,
        }
        Some(Next::Skip(0))
    }

    fn load(&mut self, code: u32, k: u32) -> Option<u32> {
        match code {
            LOAD_WORD => self.packet(k).map(u32::from_be_bytes),
            LOAD_HALF => self.packet(k).map(u16::from_be_bytes).map(u32::from),
            LOAD_BYTE => self.packet(k).map(|[byte]| u32::from(byte)),
            LOAD_WORD_FROM_X => self.packet(self.x.checked_add(k)?).map(u32::from_be_bytes),
            LOAD_HALF_FROM_X => self.packet(self.x.checked_add(k)?).map(u16::from_be_bytes).map(u32::from),
            LOAD_BYTE_FROM_X => self.packet(self.x.checked_add(k)?).map(|[byte]| u32::from(byte)),
            X_HEADER_LENGTH => self.packet(k).map(|[byte]| u32::from(byte & 0x0f) << 2),
            LOAD_LENGTH | X_LENGTH => Some(self.wire_len),
            LOAD_SCRATCH | X_SCRATCH => self.word(k).copied(),
            _ => Some(k),
        }
    }

    fn packet<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.bytes.get(usize::try_from(at).ok()?..)?.first_chunk::<N>().copied()
    }

    fn word(&mut self, k: u32) -> Option<&mut u32> {
        self.scratch.get_mut(usize::try_from(k).ok()?)
    }

    fn operand(&self, code: u32, k: u32) -> u32 {
        if code & 0x08 == libc::BPF_X { self.x } else { k }
    }

    fn jump(&self, instruction: Instruction) -> isize {
        let code = u32::from(instruction.code);
        let (a, b) = (self.a, self.operand(code, instruction.k));
        let yes = match code & 0xf0 {
            libc::BPF_JEQ => a == b,
            libc::BPF_JGT => a > b,
            libc::BPF_JGE => a >= b,
            libc::BPF_JSET => a & b != 0,
            // It was checked: it lands inside of the program.
            _ => return isize::try_from(instruction.k.cast_signed()).unwrap_or(isize::MAX),
        };
        isize::from(if yes { instruction.jt } else { instruction.jf })
    }
}

enum Next {
    Skip(isize),
    Return(u32),
}

/// `None` is a division by 0.
fn arithmetic(operation: u32, a: u32, b: u32) -> Option<u32> {
    Some(match operation {
        libc::BPF_ADD => a.wrapping_add(b),
        libc::BPF_SUB => a.wrapping_sub(b),
        libc::BPF_MUL => a.wrapping_mul(b),
        libc::BPF_DIV => a.checked_div(b)?,
        libc::BPF_MOD => a.checked_rem(b)?,
        libc::BPF_OR => a | b,
        libc::BPF_AND => a & b,
        libc::BPF_XOR => a ^ b,
        libc::BPF_LSH => a.checked_shl(b).unwrap_or(0),
        libc::BPF_RSH => a.checked_shr(b).unwrap_or(0),
        _ => a.wrapping_neg(),
    })
}

#[cfg(test)]
mod tests;
