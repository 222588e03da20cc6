//! A table that is drawn again and again in the same place, without flickering.
//!
//! Each line is written over the one before and only what is left of that is cleared. Lines that are too long are cut
//! by the terminal, which would else move everything below. What is drawn last stays where it is.

/// Goes to the upper left corner; lines do not wrap.
const BEGIN: &str = "\x1b[H\x1b[?7l";
/// Clears the rest of a line.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears the rest of the screen; lines wrap again.
const END: &str = "\x1b[J\x1b[?7h";
/// Clears all of it.
const CLEAR: &str = "\x1b[2J";

/// A terminal.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    is_ours: bool,
}

impl Screen {
    /// What to write so that the terminal, which has so many lines, shows the beginning of this text and nothing else.
    pub(crate) fn draw(&mut self, text: &str, lines: usize) -> String {
        let mut drawn = if self.is_ours { String::new() } else { CLEAR.to_owned() };
        self.is_ours = true;
        drawn += BEGIN;
        // The last line stays free for the cursor.
        for line in text.lines().take(lines.saturating_sub(1).max(1)) {
            drawn += line;
            drawn += CLEAR_LINE;
            drawn += "\r\n";
        }
        drawn + END
    }
}

#[cfg(test)]
mod tests {
    use super::Screen;

    #[test]
    fn the_first_picture_clears_the_terminal_and_the_next_ones_only_what_changed() {
        let mut screen = Screen::default();
        assert_eq!(screen.draw("one\n", 9), "\x1b[2J\x1b[H\x1b[?7lone\x1b[K\r\n\x1b[J\x1b[?7h");
        assert_eq!(screen.draw("two\n", 9), "\x1b[H\x1b[?7ltwo\x1b[K\r\n\x1b[J\x1b[?7h");
    }

    #[test]
    fn more_lines_than_the_terminal_has_are_left_out() {
        let drawn = Screen::default().draw("1\n2\n3\n4\n", 3);
        assert!(drawn.contains("1\x1b[K\r\n2\x1b[K\r\n\x1b[J"), "{drawn:?}");
    }
}
