//! What the real program tells of captures: `byway mysql -r … --json`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::common::BYWAY;

/// One run.
#[derive(Debug)]
pub struct Told {
    /// Each statement, in the order in which they were told.
    pub statements: Vec<Statement>,
    /// What else was told of connections: the kind, and whose.
    pub notes: Vec<(String, SocketAddr)>,
    /// The last object.
    pub summary: Value,
}

/// One statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// All that was told, as it was.
    pub object: Map<String, Value>,
    /// Who asked.
    pub client: SocketAddr,
    /// Which command.
    pub command: String,
    /// The text, as bytes: those of the wire, or UTF-8.
    pub text: Text,
    /// Why it is not certain.
    pub doubts: Vec<String>,
}

/// A text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Decoded by the connection's character set.
    Decoded(String),
    /// As on the wire: some of it is no text.
    Raw(Vec<u8>),
}

impl Told {
    /// Runs the program, which must succeed.
    pub fn of(captures: &[&Path], options: &[&str]) -> Self {
        let mut command = Command::new(BYWAY);
        command.args(["mysql", "--no-names", "--json"]).args(options).stdin(Stdio::null());
        for capture in captures {
            command.arg("-r").arg(capture);
        }
        let out = command.output().unwrap();
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && errors.is_empty(), "{captures:?} {options:?}: {errors}");
        let mut told = Self { statements: Vec::new(), notes: Vec::new(), summary: Value::Null };
        for line in String::from_utf8(out.stdout).unwrap().lines() {
            told.line(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        }
        assert!(told.summary.is_object(), "what there was is told at the end");
        told
    }

    fn line(&mut self, object: Map<String, Value>) {
        assert!(self.summary.is_null(), "nothing is told behind the end");
        match object["kind"].as_str().unwrap() {
            "summary" => self.summary = Value::Object(object),
            "statement" => self.statements.push(Statement::of(object)),
            kind => self.notes.push((kind.to_owned(), client(&object))),
        }
    }
}

impl Statement {
    fn of(object: Map<String, Value>) -> Self {
        let string = |name: &str| object[name].as_str().unwrap().to_owned();
        let text = match object.get("statement_base64") {
            Some(raw) => Text::Raw(STANDARD.decode(raw.as_str().unwrap()).unwrap()),
            None => Text::Decoded(string("statement")),
        };
        let doubts: Vec<String> = object.get("doubts").map_or_else(Vec::new, |doubts| {
            doubts.as_array().unwrap().iter().map(|doubt| doubt.as_str().unwrap().to_owned()).collect()
        });
        assert_eq!(doubts.is_empty(), object["certain"].as_bool().unwrap(), "what is not certain says why");
        Self { client: client(&object), command: string("command"), text, doubts, object }
    }

    /// A number of the object.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.object.get(name).and_then(Value::as_u64)
    }

    /// A string of the object.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.object.get(name).and_then(Value::as_str)
    }

    /// The text as people see it.
    pub fn words(&self) -> String {
        match &self.text {
            Text::Decoded(text) => text.clone(),
            Text::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

fn client(object: &Map<String, Value>) -> SocketAddr {
    let end = &object["client"];
    let address: IpAddr = end["address"].as_str().unwrap().parse().unwrap();
    SocketAddr::new(address, u16::try_from(end["port"].as_u64().unwrap()).unwrap())
}
