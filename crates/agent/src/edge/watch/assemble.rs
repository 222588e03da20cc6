//! A small assembler for classic BPF: jumps go to labels, which only ever lie ahead.

use super::filter::Instruction;

/// A program under construction.
#[derive(Debug, Default)]
pub(super) struct Program {
    steps: Vec<Step>,
    labels: Vec<Option<usize>>,
}

/// A place that is jumped to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label(usize);

#[derive(Debug)]
enum Step {
    Plain { code: u32, k: u32 },
    Jump { code: u32, k: u32, yes: Option<Label>, no: Option<Label> },
}

impl Program {
    /// A label for a place that comes later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.steps.len());
    }

    /// A plain instruction.
    pub(super) fn step(&mut self, code: u32, k: u32) {
        self.steps.push(Step::Plain { code, k });
    }

    /// Goes on at a label, or with the next instruction where none is given.
    pub(super) fn jump(&mut self, code: u32, k: u32, yes: Option<Label>, no: Option<Label>) {
        self.steps.push(Step::Jump { code, k, yes, no });
    }

    /// The program; none if a jump would go farther than 255 instructions, or to a label that was never placed.
    pub(super) fn finish(self) -> Option<Vec<Instruction>> {
        let target = |from: usize, label: Option<Label>| match label {
            None => Some(0),
            Some(label) => u8::try_from(self.labels[label.0]?.checked_sub(from + 1)?).ok(),
        };
        let assemble = |(at, step): (usize, &Step)| {
            let (code, jt, jf, k) = match step {
                Step::Plain { code, k } => (*code, 0, 0, *k),
                Step::Jump { code, k, yes, no } => (*code, target(at, *yes)?, target(at, *no)?, *k),
            };
            Some(Instruction { code: u16::try_from(code).ok()?, jt, jf, k })
        };
        self.steps.iter().enumerate().map(assemble).collect()
    }
}
