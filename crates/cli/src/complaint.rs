//! How errors look: what failed, why, and what to do; a mistake in a file with the line it is in.
//!
//! Only this place prints errors. Below it an error says what was being done to what, and keeps its cause.

use std::fmt;
use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};
use byway_agent::edge::capture_file::CaptureFileError;
use byway_agent::edge::etcd::EtcdError;
use byway_agent::error::AgentError;
use byway_agent::key::KeyError;
use byway_agent::posts::PostError;
use byway_api::client::ClientError;
use byway_fabric::docker::new_network::CannotMake;
use byway_fabric::inventory::UnknownHost;
use byway_fabric::inventory::edit::EditError;
use byway_fabric::mistake::{Mistake, Mistakes};
use byway_fabric::render::RenderError;
use serde_json::{Value, json};

const BAD: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// An error that knows what to do about it.
#[derive(Debug)]
pub(crate) struct Advised {
    /// What was being done to what.
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: String,
    /// Why it failed, if there is more to say.
    pub(crate) cause: Option<std::io::Error>,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Advised {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// Whether it is only that nobody reads what is written any more, as behind `| head`.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref::<std::io::Error>().is_some_and(broken)
}

/// Prints an error with its causes to standard error, or as JSON to standard output, and says that it failed.
pub(crate) fn print(error: &anyhow::Error, json: bool) -> ExitCode {
    // Nobody is left to tell that nobody listens.
    if json {
        let _ = writeln!(anstream::stdout(), "{:#}", for_programs(error));
    } else {
        let _ = anstream::stderr().write_all(for_people(error).as_bytes());
    }
    ExitCode::FAILURE
}

/// The error as text with colours, which the stream drops where there is no terminal.
pub(crate) fn for_people(error: &anyhow::Error) -> String {
    let causes = error.chain().enumerate().map(|(nth, cause)| match cause.downcast_ref::<Mistakes>() {
        Some(mistakes) => reports(mistakes),
        None if nth == 0 => format!("{BAD}error{BAD:#}: {cause}\n"),
        None => format!("  because: {cause}\n"),
    });
    let hints = hints(error).into_iter().map(|hint| format!("  {HINT}hint{HINT:#}: {hint}\n"));
    causes.chain(hints).collect::<Vec<_>>().concat()
}

/// The error as a value.
pub(crate) fn for_programs(error: &anyhow::Error) -> Value {
    let mistakes: Vec<Value> =
        error.chain().filter_map(|cause| cause.downcast_ref()).flat_map(places).collect();
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    json!({ "error": chain, "hints": hints(error), "mistakes": mistakes })
}

pub(crate) fn hints(error: &anyhow::Error) -> Vec<String> {
    error.chain().filter_map(hint).collect()
}

fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(advised) = error.downcast_ref::<Advised>() {
        return Some(advised.hint.clone());
    }
    if let Some(edit) = error.downcast_ref::<EditError>() {
        return edit.hint();
    }
    if let Some(unknown) = error.downcast_ref::<UnknownHost>() {
        return Some(unknown.hint());
    }
    if let Some(agent) = error.downcast_ref::<AgentError>() {
        return agent.hint();
    }
    if let Some(client) = error.downcast_ref::<ClientError>() {
        return client.hint();
    }
    if let Some(file) = error.downcast_ref::<CaptureFileError>() {
        return file.hint();
    }
    if let Some(post) = error.downcast_ref::<PostError>() {
        return post.hint();
    }
    if let Some(key) = error.downcast_ref::<KeyError>() {
        return key.hint();
    }
    if let Some(etcd) = error.downcast_ref::<EtcdError>() {
        return etcd.hint();
    }
    if let Some(cannot) = error.downcast_ref::<CannotMake>() {
        return Some(cannot.hint());
    }
    error.downcast_ref::<RenderError>()?.hint().map(str::to_owned)
}

fn places(mistakes: &Mistakes) -> Vec<Value> {
    let place = |mistake: &Mistake| {
        let (line, column) = mistakes.place(mistake.span.start);
        json!({ "file": mistakes.file, "line": line, "column": column, "what": mistake.what, "hint": mistake.hint })
    };
    mistakes.list.iter().map(place).collect()
}

/// Every mistake with the line it is in.
fn reports(mistakes: &Mistakes) -> String {
    mistakes.list.iter().map(|mistake| report(mistakes, mistake) + "\n").collect()
}

fn report(mistakes: &Mistakes, mistake: &Mistake) -> String {
    let (number, line) = line_of(&mistakes.text, &mistake.span);
    let span = within(&mistakes.text, &mistake.span, &line);
    let snippet = Snippet::source(&mistakes.text[line])
        .line_start(number)
        .path(&mistakes.file)
        .annotation(AnnotationKind::Primary.span(span));
    let mut group = Level::ERROR.primary_title(&mistake.what).element(snippet);
    if let Some(hint) = &mistake.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint));
    }
    Renderer::styled().render(&[group])
}

/// The number of the line in which `span` starts, and that line: a file can be megabytes, nobody looks at more.
fn line_of(text: &str, span: &Range<usize>) -> (usize, Range<usize>) {
    let at = text.floor_char_boundary(span.start.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    (text[..start].matches('\n').count() + 1, start..end)
}

/// `span` relative to `line`, not beyond them and not within a character.
fn within(text: &str, span: &Range<usize>, line: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start).clamp(line.start, line.end);
    let end = text.ceil_char_boundary(span.end).clamp(start, line.end);
    start - line.start..end - line.start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_in_its_line_with_a_hint() {
        let text =
            "[[host]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\nsubnets = [\"172.41.1.1/16\"]\ncolor = 1\n";
        let mistakes = byway_fabric::inventory::read("inventory.toml", text).unwrap_err();
        let shown = plain(&anyhow::Error::new(mistakes).context("read the inventory"));
        let expected = "\
error: read the inventory
error: 172.41.1.1/16 has host bits: did you mean 172.41.0.0/16?
 --> inventory.toml:4:12
  |
4 | subnets = [\"172.41.1.1/16\"]
  |            ^^^^^^^^^^^^^^^
error: unknown key `color` in [[host]]
 --> inventory.toml:5:1
  |
5 | color = 1
  | ^^^^^
  |
  = hint: known here: name, addresses, subnets, key
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_place_can_be_shown() {
        let text = "a = 1\r\nü\n\u{1b}[31m\n\nlast";
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 3 {
                let mistake = Mistake { span: start..end, what: "wrong".into(), hint: None };
                let mistakes = Mistakes { file: "f".into(), text: text.into(), list: vec![mistake] };
                assert!(plain(&anyhow::Error::new(mistakes)).starts_with("error: wrong\n"), "{start}..{end}");
            }
        }
    }

    #[test]
    fn causes_and_hints_follow_the_error() {
        let cause = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let advised =
            Advised { what: "write in /etc".into(), hint: "run it as root".into(), cause: Some(cause) };
        let shown = plain(&anyhow::Error::new(advised).context("add host a"));
        let expected = "error: add host a\n  because: write in /etc\n  because: permission denied\n  hint: run it as root\n";
        assert_eq!(shown, expected);
    }

    fn plain(error: &anyhow::Error) -> String {
        anstream::adapter::strip_str(&for_people(error)).to_string()
    }
}
