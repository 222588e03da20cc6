//! Character sets by the numbers and names of the servers, and how to decode them.

use std::borrow::Cow;

use encoding_rs::{DecoderResult, Encoding};

/// Bytes that are decoded at once. A character has at most 4 as UTF-8.
const STEP_BYTES: usize = 1_024;

/// A character set that a client may speak. UCS-2, UTF-16 and UTF-32 are none: the servers refuse them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// `utf8mb4`
    #[default]
    Utf8,
    /// `utf8mb3`, also called `utf8`: characters of up to three bytes.
    Utf8Mb3,
    /// `binary` and `ascii`: text as far as it is UTF-8.
    Binary,
    /// One of those that [`encoding_rs`] knows.
    Known(Known),
    /// Bytes below 0x80 are ASCII, the others are not known: `cp850`, `dec8`, …, and numbers of later servers.
    Unknown,
}

/// Character sets other than UTF-8, by the servers' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Traditional Chinese.
    Big5,
    /// Central European of Windows.
    Cp1250,
    /// Cyrillic of Windows.
    Cp1251,
    /// Arabic of Windows.
    Cp1256,
    /// Baltic of Windows.
    Cp1257,
    /// Cyrillic of DOS.
    Cp866,
    /// Japanese, Shift-JIS of Windows.
    Cp932,
    /// Japanese, EUC of Windows.
    Eucjpms,
    /// Korean.
    Euckr,
    /// All of Unicode, as China has it.
    Gb18030,
    /// Simplified Chinese.
    Gb2312,
    /// Simplified Chinese of Windows.
    Gbk,
    /// ISO 8859-7.
    Greek,
    /// ISO 8859-8.
    Hebrew,
    /// Russian.
    Koi8r,
    /// Ukrainian.
    Koi8u,
    /// Western European; Windows-1252, whatever its name says.
    Latin1,
    /// ISO 8859-2.
    Latin2,
    /// ISO 8859-9.
    Latin5,
    /// ISO 8859-13.
    Latin7,
    /// Western European of the Macintosh.
    Macroman,
    /// Japanese, Shift-JIS.
    Sjis,
    /// Thai.
    Tis620,
    /// Japanese, EUC.
    Ujis,
}

/// How the bytes of a character set make characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// One each.
    Single,
    /// UTF-8 of up to so many bytes.
    Utf8(u8),
    /// EUC: all bytes of a longer character are above 0x80.
    Euc(Euc),
    /// The second byte of a character may be a backslash.
    WithBackslash,
}

/// The characters of the three EUC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Euc {
    /// `ujis`, `eucjpms`.
    Japanese,
    /// `euckr`, with the letters that Windows added.
    Korean,
    /// `gb2312`.
    Chinese,
}

impl Bytes {
    /// How many bytes the character at the start has; 0 if there is none. Not for [`Bytes::WithBackslash`], where it
    /// is 0 for all that is not ASCII.
    #[must_use]
    pub fn character(self, bytes: &[u8]) -> usize {
        match (self, bytes) {
            (_, []) => 0,
            (Self::Single, _) | (_, [..0x80, ..]) => 1,
            (Self::Utf8(longest), _) => utf8_character(bytes, longest.into()),
            (Self::Euc(euc), _) => euc.character(bytes),
            (Self::WithBackslash, _) => 0,
        }
    }
}

impl Euc {
    fn character(self, bytes: &[u8]) -> usize {
        match (self, bytes) {
            (Self::Japanese, [0x8f, 0xa1..=0xfe, 0xa1..=0xfe, ..]) => 3,
            (Self::Japanese, [0x8e, 0xa1..=0xdf, ..] | [0xa1..=0xfe, 0xa1..=0xfe, ..])
            | (Self::Korean, [0x81..=0xfe, b'A'..=b'Z' | b'a'..=b'z' | 0x81..=0xfe, ..])
            | (Self::Chinese, [0xa1..=0xf7, 0xa1..=0xfe, ..]) => 2,
            _ => 0,
        }
    }
}

/// As the servers see it, for whom surrogates are characters too.
fn utf8_character(bytes: &[u8], longest: usize) -> usize {
    let length = match bytes {
        [0xc2..=0xdf, 0x80..=0xbf, ..] => 2,
        [0xe0, 0xa0..=0xbf, 0x80..=0xbf, ..] | [0xe1..=0xef, 0x80..=0xbf, 0x80..=0xbf, ..] => 3,
        [0xf0, 0x90..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf1..=0xf3, 0x80..=0xbf, 0x80..=0xbf, 0x80..=0xbf, ..]
        | [0xf4, 0x80..=0x8f, 0x80..=0xbf, 0x80..=0xbf, ..] => 4,
        _ => 0,
    };
    if length <= longest { length } else { 0 }
}

impl Charset {
    /// By the number of a collation, as it stands in the login and in `COM_CHANGE_USER`.
    ///
    /// From `information_schema` of MariaDB 10.11; what only MySQL has (248 to 250, 255 to 323) from its manual.
    #[must_use]
    pub fn of_collation(collation: u16) -> Self {
        // MariaDB numbers the variants "nopad" of a collation from 1024 on.
        let number = if (1_025..=1_151).contains(&collation) { collation - 1_024 } else { collation };
        match number {
            33 | 76 | 83 | 192..=215 | 223 | 576..=607 | 1_216..=1_247 | 2_048..=2_303 => Self::Utf8Mb3,
            45 | 46 | 224..=247 | 255..=323 | 608..=639 | 1_248..=1_279 | 2_304..=2_559 => Self::Utf8,
            11 | 63 | 65 => Self::Binary,
            other => known(other).map_or(Self::Unknown, Self::Known),
        }
    }

    /// By its name, in any case: `utf8mb4`, `gbk`, `LATIN1`; or the name of a collation, `utf8mb4_bin`.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let name = name.split('_').next().unwrap_or(name).to_ascii_lowercase();
        match name.as_str() {
            "utf8mb4" => Self::Utf8,
            "utf8mb3" | "utf8" => Self::Utf8Mb3,
            "binary" | "ascii" => Self::Binary,
            other => known_by_name(other).map_or(Self::Unknown, Self::Known),
        }
    }

    /// How its bytes make characters.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        match self {
            Self::Utf8 => Bytes::Utf8(4),
            Self::Utf8Mb3 => Bytes::Utf8(3),
            Self::Known(Known::Ujis | Known::Eucjpms) => Bytes::Euc(Euc::Japanese),
            Self::Known(Known::Euckr) => Bytes::Euc(Euc::Korean),
            Self::Known(Known::Gb2312) => Bytes::Euc(Euc::Chinese),
            Self::Known(Known::Big5 | Known::Cp932 | Known::Gb18030 | Known::Gbk | Known::Sjis) => {
                Bytes::WithBackslash
            }
            Self::Binary | Self::Unknown | Self::Known(_) => Bytes::Single,
        }
    }

    /// The text as bytes in which all below 0x80 is ASCII, as [`crate::sql`] takes it: UTF-8 where a character may
    /// hold a backslash, else as it is. Bytes that are no characters become U+FFFD there.
    #[must_use]
    pub fn decode(self, text: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Known(known) if self.bytes() == Bytes::WithBackslash && !text.is_ascii() => {
                let (decoded, _) = known.encoding().decode_without_bom_handling(text);
                Cow::Owned(decoded.into_owned().into_bytes())
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// The text with 0x80 for the later bytes of longer characters, if a backslash may be one. Its tokens stand at the
    /// same places.
    pub(crate) fn without_backslashes(self, text: &[u8]) -> Cow<'_, [u8]> {
        if self.bytes() != Bytes::WithBackslash || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let mut text = text.to_vec();
        let mut is_second = false;
        for byte in &mut text {
            let is_first = !is_second && *byte > 0x80 && *byte != 0xff && !self.is_single(*byte);
            if is_second && *byte >= b'@' {
                *byte = 0x80;
            }
            is_second = is_first;
        }
        Cow::Owned(text)
    }

    /// Shift-JIS has syllables of one byte.
    fn is_single(self, byte: u8) -> bool {
        matches!(self, Self::Known(Known::Sjis | Known::Cp932)) && matches!(byte, 0xa0..=0xdf)
    }

    /// Takes bytes apart into text and what is none.
    pub(super) fn read<'a>(self, bytes: &'a [u8], mut take: impl FnMut(Part<'a, '_>)) {
        match self {
            Self::Utf8 | Self::Utf8Mb3 | Self::Binary => {
                for chunk in bytes.utf8_chunks() {
                    give(chunk.valid(), chunk.invalid(), &mut take);
                }
            }
            Self::Unknown => {
                for chunk in bytes.chunk_by(|one, other| one.is_ascii() == other.is_ascii()) {
                    match std::str::from_utf8(chunk) {
                        Ok(text) if text.is_ascii() => take(Part::Text(text)),
                        _ => take(Part::Bytes(chunk)),
                    }
                }
            }
            Self::Known(known) => decode(known.encoding(), bytes, take),
        }
    }
}

/// A stretch of a text.
pub(super) enum Part<'a, 't> {
    /// Characters.
    Text(&'t str),
    /// Bytes that are no character.
    Bytes(&'a [u8]),
}

fn give<'a>(text: &str, bytes: &'a [u8], take: &mut impl FnMut(Part<'a, '_>)) {
    if !text.is_empty() {
        take(Part::Text(text));
    }
    if !bytes.is_empty() {
        take(Part::Bytes(bytes));
    }
}

fn decode<'a>(encoding: &'static Encoding, bytes: &'a [u8], mut take: impl FnMut(Part<'a, '_>)) {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut room = [0; STEP_BYTES];
    let mut at = 0;
    // Ends: there is room for a character, so every step reads a byte or is the last.
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(rest, &mut room, true);
        let text = room.get(..written).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        at += read;
        let bad = match result {
            DecoderResult::Malformed(length, behind) => {
                let end = at.saturating_sub(behind.into());
                bytes.get(end.saturating_sub(length.into())..end).unwrap_or_default()
            }
            DecoderResult::InputEmpty | DecoderResult::OutputFull => &[],
        };
        give(text, bad, &mut take);
        if result == DecoderResult::InputEmpty {
            return;
        }
    }
}

impl Known {
    fn encoding(self) -> &'static Encoding {
        match self {
            Self::Big5 => encoding_rs::BIG5,
            Self::Cp1250 => encoding_rs::WINDOWS_1250,
            Self::Cp1251 => encoding_rs::WINDOWS_1251,
            Self::Cp1256 => encoding_rs::WINDOWS_1256,
            Self::Cp1257 => encoding_rs::WINDOWS_1257,
            Self::Cp866 => encoding_rs::IBM866,
            Self::Cp932 | Self::Sjis => encoding_rs::SHIFT_JIS,
            Self::Eucjpms | Self::Ujis => encoding_rs::EUC_JP,
            Self::Euckr => encoding_rs::EUC_KR,
            Self::Gb18030 => encoding_rs::GB18030,
            Self::Gb2312 | Self::Gbk => encoding_rs::GBK,
            Self::Greek => encoding_rs::ISO_8859_7,
            Self::Hebrew => encoding_rs::ISO_8859_8,
            Self::Koi8r => encoding_rs::KOI8_R,
            Self::Koi8u => encoding_rs::KOI8_U,
            Self::Latin1 => encoding_rs::WINDOWS_1252,
            Self::Latin2 => encoding_rs::ISO_8859_2,
            Self::Latin5 => encoding_rs::WINDOWS_1254,
            Self::Latin7 => encoding_rs::ISO_8859_13,
            Self::Macroman => encoding_rs::MACINTOSH,
            Self::Tis620 => encoding_rs::WINDOWS_874,
        }
    }
}

/// By the number of a collation.
fn known(collation: u16) -> Option<Known> {
    Some(match collation {
        1 | 84 => Known::Big5,
        26 | 34 | 44 | 66 | 99 => Known::Cp1250,
        14 | 23 | 50..=52 => Known::Cp1251,
        57 | 67 => Known::Cp1256,
        29 | 58 | 59 => Known::Cp1257,
        36 | 68 => Known::Cp866,
        95 | 96 => Known::Cp932,
        97 | 98 => Known::Eucjpms,
        19 | 85 => Known::Euckr,
        248..=250 => Known::Gb18030,
        24 | 86 => Known::Gb2312,
        28 | 87 => Known::Gbk,
        25 | 70 => Known::Greek,
        16 | 71 => Known::Hebrew,
        7 | 74 => Known::Koi8r,
        22 | 75 => Known::Koi8u,
        5 | 8 | 15 | 31 | 47..=49 | 94 => Known::Latin1,
        2 | 9 | 21 | 27 | 77 => Known::Latin2,
        30 | 78 => Known::Latin5,
        20 | 41 | 42 | 79 => Known::Latin7,
        39 | 53 => Known::Macroman,
        13 | 88 => Known::Sjis,
        18 | 89 => Known::Tis620,
        12 | 91 => Known::Ujis,
        _ => return None,
    })
}

fn known_by_name(name: &str) -> Option<Known> {
    Some(match name {
        "big5" => Known::Big5,
        "cp1250" => Known::Cp1250,
        "cp1251" => Known::Cp1251,
        "cp1256" => Known::Cp1256,
        "cp1257" => Known::Cp1257,
        "cp866" => Known::Cp866,
        "cp932" => Known::Cp932,
        "eucjpms" => Known::Eucjpms,
        "euckr" => Known::Euckr,
        "gb18030" => Known::Gb18030,
        "gb2312" => Known::Gb2312,
        "gbk" => Known::Gbk,
        "greek" => Known::Greek,
        "hebrew" => Known::Hebrew,
        "koi8r" => Known::Koi8r,
        "koi8u" => Known::Koi8u,
        "latin1" => Known::Latin1,
        "latin2" => Known::Latin2,
        "latin5" => Known::Latin5,
        "latin7" => Known::Latin7,
        "macroman" => Known::Macroman,
        "sjis" => Known::Sjis,
        "tis620" => Known::Tis620,
        "ujis" => Known::Ujis,
        _ => return None,
    })
}
