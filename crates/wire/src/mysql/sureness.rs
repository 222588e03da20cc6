//! How sure it is that a statement is told as it was.

use std::fmt;

/// A reason to doubt something about a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Doubt {
    /// Bytes of the request were not seen; where they are missing is told beside the text.
    RequestHoled,
    /// The end of the request was not seen.
    RequestCut,
    /// The request was longer than what is kept of one.
    RequestTooLong,
    /// The beginning of the connection was not seen: how it speaks was inferred from what it says.
    Midstream,
    /// The statement was prepared before the capture, or its PREPARE was lost.
    StatementUnknown,
    /// Bytes of the PREPARE were not seen, so the text may be wrong.
    PrepareHoled,
    /// Which PREPARE had this statement's number for its answer is a guess, so the text may be another one's.
    StatementInferred,
    /// The parameters could not be read.
    ParametersUnread,
    /// Requests were lost before it: parameters that came in pieces may lack some, and types may have been changed.
    ParametersInferred,
    /// User, database or character set may have been changed by what was lost.
    ContextInferred,
    /// Bytes of the answer were not seen; what is counted is what was seen.
    AnswerHoled,
    /// The end of the answer was not seen.
    AnswerCut,
    /// No answer was seen.
    AnswerUnseen,
    /// Requests were lost before it: the answer may be another one's.
    AnswerInferred,
    /// The answer is not what this command is answered with.
    AnswerOdd,
}

impl Doubt {
    /// All of them, in order.
    pub const ALL: [Self; 15] = [
        Self::RequestHoled,
        Self::RequestCut,
        Self::RequestTooLong,
        Self::Midstream,
        Self::StatementUnknown,
        Self::PrepareHoled,
        Self::StatementInferred,
        Self::ParametersUnread,
        Self::ParametersInferred,
        Self::ContextInferred,
        Self::AnswerHoled,
        Self::AnswerCut,
        Self::AnswerUnseen,
        Self::AnswerInferred,
        Self::AnswerOdd,
    ];

    /// A few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::RequestHoled => "bytes of the request were not seen",
            Self::RequestCut => "the end of the request was not seen",
            Self::RequestTooLong => "the request is too long to be kept",
            Self::Midstream => "joined midstream",
            Self::StatementUnknown => "its PREPARE was not seen",
            Self::PrepareHoled => "bytes of its PREPARE were not seen",
            Self::StatementInferred => "the statement may be another one",
            Self::ParametersUnread => "the parameters could not be read",
            Self::ParametersInferred => "the parameters may be others: requests were lost",
            Self::ContextInferred => "user, database or character set may have changed",
            Self::AnswerHoled => "bytes of the answer were not seen",
            Self::AnswerCut => "the end of the answer was not seen",
            Self::AnswerUnseen => "no answer was seen",
            Self::AnswerInferred => "the answer may be another one's",
            Self::AnswerOdd => "the answer is not one to this command",
        }
    }
}

/// All that is to be doubted about a statement; certain if nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Sureness(u16);

impl Sureness {
    /// Whether nothing is to be doubted.
    #[must_use]
    pub fn is_certain(self) -> bool {
        self.0 == 0
    }

    /// Whether that is to be doubted.
    #[must_use]
    pub fn has(self, doubt: Doubt) -> bool {
        self.0 & (1 << doubt as u16) != 0
    }

    /// The same without [`Doubt::ContextInferred`], which says nothing against the statement and its answer, and after a
    /// loss is true of many: it is to be told lightly.
    #[must_use]
    pub fn beside_context(self) -> Self {
        let mut rest = self;
        rest.settle(Doubt::ContextInferred);
        rest
    }

    /// Each doubt, in order.
    pub fn iter(self) -> impl Iterator<Item = Doubt> {
        Doubt::ALL.into_iter().filter(move |doubt| self.has(*doubt))
    }

    pub(super) fn doubt(&mut self, doubt: Doubt) {
        self.0 |= 1 << doubt as u16;
    }

    /// It need not be doubted any more.
    pub(super) fn settle(&mut self, doubt: Doubt) {
        self.0 &= !(1 << doubt as u16);
    }

    pub(super) fn doubt_if(&mut self, is_so: bool, doubt: Doubt) {
        if is_so {
            self.doubt(doubt);
        }
    }
}

impl fmt::Display for Sureness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_certain() {
            return out.write_str("certain");
        }
        for (nth, doubt) in self.iter().enumerate() {
            out.write_str(if nth == 0 { "" } else { "; " })?;
            out.write_str(doubt.words())?;
        }
        Ok(())
    }
}
