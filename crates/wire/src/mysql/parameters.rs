//! The parameters of EXECUTE and BULK, and the attributes of a query, as they lie on the wire.
//!
//! Sources: <https://mariadb.com/kb/en/com_stmt_execute/>, <https://mariadb.com/kb/en/com_stmt_bulk_execute/>, and
//! MySQL's "`COM_QUERY`" and "`COM_STMT_EXECUTE`". What the values mean is [`super::value`]'s.

use super::bytes::Bytes;
use super::value::{self, Raw};

/// Parameters of one statement at most: the counts on the wire have 16 bits.
pub(super) const PARAMETERS_MAX: usize = 65_535;
/// The rest of EXECUTE's flags is which cursor to open.
const HAS_COUNT: u8 = 8;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kind {
    /// `enum_field_types`, such as 3 for an integer of 4 bytes.
    pub code: u8,
    /// Whether a number has no sign.
    pub unsigned: bool,
}

/// What `COM_STMT_SEND_LONG_DATA` has brought for one parameter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LongData {
    /// Which parameter, from 0 on.
    pub parameter: u16,
    /// Its bytes, up to a bound.
    pub bytes: Vec<u8>,
    /// How many came.
    pub length: u64,
}

/// The parameters of one statement, in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parameters<'a> {
    kinds: &'a [Kind],
    names: &'a [Vec<u8>],
    nulls: &'a [u8],
    longs: &'a [LongData],
    values: &'a [u8],
    count: usize,
    /// BULK has a byte in front of each value in place of the bits.
    has_indicators: bool,
}

/// What the types of parameters are kept in until they are sent anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Types {
    pub(super) kinds: Vec<Kind>,
    /// Only of parameters that have one.
    pub(super) names: Vec<Vec<u8>>,
    /// Whether they came with the message that was read last.
    pub(super) are_fresh: bool,
}

impl<'a> Parameters<'a> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Each with its name, which only attributes have. Ends early, with `None`, where a value cannot be read.
    pub fn iter(&self) -> impl Iterator<Item = Option<(&'a [u8], Raw<'a>)>> + use<'a> {
        let (all, mut values, mut place, mut is_over) = (*self, Bytes(self.values), 0, false);
        std::iter::from_fn(move || {
            if is_over || place == all.count {
                return None;
            }
            let raw = all.value(place, &mut values);
            is_over = raw.is_none();
            let name = all.names.get(place).map_or(&[][..], Vec::as_slice);
            place += 1;
            Some(raw.map(|raw| (name, raw)))
        })
    }

    fn value(&self, place: usize, values: &mut Bytes<'a>) -> Option<Raw<'a>> {
        let long = self.longs.iter().find(|long| usize::from(long.parameter) == place);
        if let Some(long) = long {
            return Some(Raw::Long { bytes: &long.bytes, cut: long.length > long.bytes.len() as u64 });
        }
        if self.has_indicators {
            match values.u8()? {
                0 => {}
                1 => return Some(Raw::Null),
                2 => return Some(Raw::Default),
                3 => return Some(Raw::Ignore),
                _ => return None,
            }
        } else if self.nulls.get(place / 8)? & (1 << (place % 8)) != 0 {
            return Some(Raw::Null);
        }
        let kind = self.kinds.get(place)?;
        let bytes = values.take(value::length(kind.code, values.0)?)?;
        Some(Raw::Value { kind: kind.code, unsigned: kind.unsigned, bytes })
    }

    /// Some of them: the place holders without the attributes behind them, or the other way round.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.count = self.count.min(count);
        self
    }

    /// Whether all values can be read and nothing is left behind them.
    pub(super) fn is_whole(&self) -> bool {
        self.rest().is_some_and(<[u8]>::is_empty)
    }

    /// What is behind the values: BULK's next row, or the text of a query.
    fn rest(&self) -> Option<&'a [u8]> {
        let mut values = Bytes(self.values);
        (0..self.count).try_for_each(|place| self.value(place, &mut values).map(|_| ()))?;
        Some(values.0)
    }
}

impl Types {
    /// Reads `count` types, with names if attributes are among them.
    fn read(&mut self, bytes: &mut Bytes<'_>, count: usize, has_names: bool) -> Option<()> {
        self.kinds.clear();
        self.names.clear();
        self.are_fresh = true;
        for _ in 0..count {
            let (code, flags) = (bytes.u8()?, bytes.u8()?);
            self.kinds.push(Kind { code, unsigned: flags & 0x80 != 0 });
            if has_names {
                self.names.push(bytes.lenenc_bytes()?.to_vec());
            }
        }
        Some(())
    }

    pub(super) fn memory(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.capacity() + size_of::<Vec<u8>>()).sum();
        self.kinds.capacity() * size_of::<Kind>() + names
    }
}

/// What stands in front of the text of a query when attributes were agreed on, and then the text.
pub(super) fn query_attributes<'a>(
    body: &'a [u8],
    types: &'a mut Types,
) -> Option<(Parameters<'a>, &'a [u8])> {
    let mut bytes = Bytes(body);
    let count = usize::try_from(bytes.lenenc()?).ok()?;
    bytes.lenenc()?;
    if count == 0 {
        return Some((Parameters::default(), bytes.0));
    }
    let nulls = nulls_and_types(&mut bytes, count, true, types)?;
    let (kinds, names) = (&types.kinds[..], &types.names[..]);
    let parameters = Parameters { kinds, names, nulls, values: bytes.0, count, ..Parameters::default() };
    let text = parameters.rest()?;
    Some((parameters, text))
}

fn nulls_and_types<'a>(
    bytes: &mut Bytes<'a>,
    count: usize,
    has_names: bool,
    types: &mut Types,
) -> Option<&'a [u8]> {
    if count > PARAMETERS_MAX {
        return None;
    }
    let nulls = bytes.take(count.div_ceil(8))?;
    if bytes.u8()? == 1 {
        types.read(bytes, count, has_names)?;
    }
    Some(nulls)
}

/// EXECUTE behind the number of its statement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Execute<'a> {
    flags: u8,
    rest: Bytes<'a>,
}

impl<'a> Execute<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        let mut rest = Bytes(body);
        rest.u32()?;
        let flags = rest.u8()?;
        rest.u32()?;
        Some(Self { flags, rest })
    }

    /// What is behind the fixed part.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.rest.0
    }

    /// Whether it says itself how many parameters there are.
    pub(super) fn has_count(&self) -> bool {
        self.flags & HAS_COUNT != 0
    }

    /// Its parameters, given how many the statement has; `types` are the last ones sent, and become those sent now.
    pub(super) fn parameters(
        mut self,
        count: u16,
        types: &'a mut Types,
        longs: &'a [LongData],
    ) -> Option<Parameters<'a>> {
        let has_count = self.has_count();
        let mut count = usize::from(count);
        if has_count {
            count = usize::try_from(self.rest.lenenc()?).ok()?;
        }
        if count == 0 {
            return Some(Parameters::default());
        }
        let nulls = nulls_and_types(&mut self.rest, count, has_count, types)?;
        let values = self.rest.0;
        let (kinds, names) = (&types.kinds[..], &types.names[..]);
        Some(Parameters { kinds, names, nulls, longs, values, count, has_indicators: false })
    }
}

/// The rows of parameters of one BULK.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows<'a>(Parameters<'a>);

impl<'a> Rows<'a> {
    /// Each row. Ends early, with `None`, where a value cannot be read.
    pub fn iter(&self) -> impl Iterator<Item = Option<Parameters<'a>>> + use<'a> {
        let mut row = self.0;
        std::iter::from_fn(move || {
            if row.values.is_empty() || row.count == 0 {
                return None;
            }
            let this = row;
            let rest = this.rest();
            row.values = rest.unwrap_or_default();
            Some(rest.map(|_| this))
        })
    }
}

/// BULK's flag that types follow.
const HAS_TYPES: u16 = 128;

/// The rows of BULK, given how many parameters the statement has; `types` are as in [`Execute::parameters`].
pub(super) fn bulk<'a>(body: &'a [u8], count: u16, types: &'a mut Types) -> Option<Rows<'a>> {
    let mut bytes = Bytes(body);
    bytes.u32()?;
    let count = usize::from(count);
    if bytes.u16()? & HAS_TYPES != 0 {
        types.read(&mut bytes, count, false)?;
    }
    let (kinds, values) = (&types.kinds[..], bytes.0);
    Some(Rows(Parameters { kinds, values, count, has_indicators: true, ..Parameters::default() }))
}
