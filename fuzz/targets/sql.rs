//! Any text as a statement: its tokens are the text, and no value comes through the mask.

#![no_main]

use byway_wire::sql::{self, Backslashes, Kind, Tokens};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for backslashes in [Backslashes::Escape, Backslashes::Plain] {
        let mut at = 0;
        let mut literals = 0;
        for token in Tokens::new(bytes, backslashes) {
            assert_eq!(token.start, at);
            assert!(token.end > at, "every token is something");
            at = token.end;
            literals += usize::from(matches!(token.kind, Kind::String | Kind::Number));
        }
        assert_eq!(at, bytes.len(), "the tokens are the text");

        let mut out = Vec::new();
        sql::mask(bytes, backslashes, &mut out);
        let marks = out.iter().filter(|byte| **byte == b'?').count();
        assert!(marks >= literals, "every literal is a mark");
        assert!(out.len() <= bytes.len() * 2 + 4, "a mask is bounded");
        out.clear();
        sql::fingerprint(bytes, backslashes, &mut out);
        assert!(out.len() <= bytes.len() * 2 + 16, "a fingerprint is bounded");

        let parts: usize = sql::statements(bytes, backslashes).map(<[u8]>::len).sum();
        assert!(parts <= bytes.len());
        if let Some(name) = sql::used_database(bytes, backslashes) {
            assert!(name.len() < bytes.len());
        }
        let _ = sql::client_charset(bytes, backslashes);
        let _ = sql::verb(bytes, backslashes);
    }
});
