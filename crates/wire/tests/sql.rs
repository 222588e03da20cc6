//! Statements as text, and what is made of them. `sql/fingerprints.txt` is what `pt-fingerprint` 3.2.1 says.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use byway_wire::sql::{self, Backslashes, DigestId, Kind, Tokens};
use proptest::prelude::*;

/// Statements, and what Percona Toolkit makes of them.
const TOOLKIT: &str = include_str!("sql/fingerprints.txt");

#[test]
fn a_fingerprint_is_the_one_of_percona_toolkit() {
    let mut cases = 0;
    for case in TOOLKIT.split("\n\n") {
        let (statement, expected) = case.trim_end_matches('\n').split_once("\n> ").unwrap();
        let statement = unescaped(statement.strip_prefix("< ").unwrap());
        assert_eq!(fingerprint(&statement), unescaped(expected), "of {statement}");
        cases += 1;
    }
    assert!(cases > 300, "only {cases} cases were read");
}

/// Statement, what the toolkit makes of it, what we do, why.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("select 'it''s'", "select ??", "select ?", "two quotes within a string are one quote of it"),
    (
        "select 'a\\\\', 'b'",
        "select ?b'",
        "select ?, ?",
        "a backslash may be escaped itself; values get through",
    ),
    (
        "select 'say \"x', c, 'y\"'",
        "select ?",
        "select ?, c, ?",
        "a quote within the other kind of quotes; columns vanish",
    ),
    (
        "select a -- don't\nfrom t where b = 'x'",
        "select a ? don?x'",
        "select a from t where b = ?",
        "an apostrophe in a comment; values get through",
    ),
    ("select a # it's\nfrom t", "select a # it's from t", "select a from t", "the same in the other comment"),
    (
        "select 'x /* y', c, 'z */' from t",
        "select ? from t",
        "select ?, c, ? from t",
        "a comment does not begin within a string",
    ),
    (
        "select `it's` from t where a = 'b'",
        "select `it?b'",
        "select `it's` from t where a = ?",
        "an apostrophe in a name; values get through",
    ),
    ("select X'4D', B'01'", "select x?, b?", "select ?, ?", "the same literals as with a small letter"),
    ("select 0xABCDEF", "select ?abcdef", "select ?", "capital digits; values get through"),
    ("select 1E5", "select ?e?", "select ?", "the same literal as with a small letter"),
    (
        "select a+b from t",
        "select a? from t",
        "select a?b from t",
        "a sign eats the letters a to f and x behind it",
    ),
    (
        "select price-discount from t",
        "select price?iscount from t",
        "select price?discount from t",
        "the same",
    ),
    ("select 1-bar from t", "select ?r from t", "select ?bar from t", "the same behind a number"),
    ("select x-1 from t", "select ? from t", "select x? from t", "a column in front of a sign vanishes"),
    (
        "select t1.id, t1.amount from t1",
        "select t?id, t?mount from t?",
        "select t?.id, t?.amount from t?",
        "digits at the end of a name eat the dot and letters behind it",
    ),
    (
        "select * from `my-db`.t",
        "select * from `my?`.t",
        "select * from `my?db`.t",
        "the same in quoted names",
    ),
    ("select/*x*/a from t", "selecta from t", "select a from t", "a comment parts two words"),
    (
        "select a/**/from t where b = 1 /* c */",
        "select a",
        "select a from t where b = ? ",
        "an empty comment ends where it ends",
    ),
    (
        "select a from t where c /*M!100100 = 5 */",
        "select a from t where c ",
        "select a from t where c /*M!? = ? */",
        "MariaDB's code in comments is code",
    ),
    ("call foo(bar(1))", "call foo(bar", "call foo", "the name ends at the first parenthesis"),
    ("call p('a(b')", "call p('a", "call p", "the same; values get through"),
    ("call  p(1)", "call  p", "call p", "blanks are one blank everywhere"),
    ("USE  db", "use db", "use ?", "the same"),
    (" use db", "use db", "use ?", "blanks in front are nothing"),
    (
        "select a from t order by c, ascii(d)",
        "select a from t order by c,ii(d)",
        "select a from t order by c, ascii(d)",
        "ASC is a word",
    ),
    (
        "select 1 union select 2 from t",
        "select ? /*repeat union*/ from t",
        "select ? union select ? from t",
        "the second select is another one",
    ),
    (
        "select a from t union select a from t where b = 1 union select a from t where b = 2",
        "select a from t /*repeat union*/ where b = ? union select a from t where b = ?",
        "select a from t union select a from t where b = ? /*repeat union*/",
        "the same",
    ),
    ("select true, FALSE", "select true, false", "select ?, ?", "they are values"),
    (
        "select * from t where a in (1, true)",
        "select * from t where a in (?, true)",
        "select * from t where a in(?+)",
        "the same",
    ),
    (
        "select \"a\".\"b\" from \"c\"",
        "select ?? from ?",
        "select ?.? from ?",
        "a dot is no part of a string",
    ),
    (
        "select a from t where b = 'open",
        "select a from t where b = 'open",
        "select a from t where b = ?",
        "a cut string; values get through",
    ),
    ("select a /* open", "select a /* open", "select a ", "a cut comment is one"),
    (
        "insert into t values ('(a),(c)')",
        "insert into t values ('(a)",
        "insert into t values(?+)",
        "a row does not end within a string",
    ),
    (
        "insert into t values ((1),(2)), (3,4)",
        "insert into t values ((?)",
        "insert into t values ((?),(?))",
        "a row ends with its parenthesis",
    ),
    (
        "select a from t where b = $$x$$",
        "select a from t where b = $$x$$",
        "select a from t where b = ?",
        "MySQL's third kind of quotes",
    ),
    (
        "select t.2fa from t",
        "select t? from t",
        "select t.? from t",
        "a name behind a dot begins with a digit",
    ),
    ("select nx'y'", "select n?", "select nx?", "only x and b alone are a prefix"),
];

#[test]
fn where_the_toolkit_is_wrong_we_differ_for_a_reason() {
    for (statement, toolkit, ours, why) in DIFFERENCES {
        assert_eq!(fingerprint(statement), *ours, "of {statement}: {why}");
        assert_ne!(toolkit, ours, "{statement} is no difference");
    }
}

#[test]
fn a_digest_has_the_number_that_the_toolkit_prints() {
    let id = |text: &str| DigestId::of(fingerprint(text).as_bytes()).to_string();
    assert_eq!(id("select * from t where a = 5"), "E630D2FEB6D5BB9184AFF9783CD458FF");
    assert_eq!(id("SELECT  * FROM t WHERE a = 'x'"), "E630D2FEB6D5BB9184AFF9783CD458FF");
}

#[test]
fn a_mask_hides_values_and_nothing_else() {
    check_mask("select 1", "select ?");
    check_mask("SELECT  A,\n 'b''c', \"d\\\"e\" FROM `t 1`", "SELECT  A,\n ?, ? FROM `t 1`");
    check_mask("select x'4D', 0xff, b'1', 0b1, N'x', _utf8'y'", "select ?, ?, ?, ?, ?, _utf8?");
    check_mask("select -1.5e-3, 1-2, .5, t.5, t1.c1", "select -?, ?-?, ?, t.5, t1.c1");
    check_mask("select a is null, b is not TRUE, null, false", "select a is null, b is not TRUE, ?, ?");
    check_mask("insert into t values (1, NULL)", "insert into t values (?, ?)");
    check_mask("select null.1, true.x, null. x, a.null", "select null.1, true.x, ?. x, a.null");
    check_mask("a int not null default 5", "a int not null default ?");
    check_mask("grant all on *.* to 'u'@'h' identified by 'pw'", "grant all on *.* to ?@? identified by ?");
    check_mask("select ?, @a1, @@b2, $$secret$$", "select ?, @a1, @@b2, ?");
    check_mask("select 2fa, 1e, 12", "select 2fa, 1e, ?");
}

#[test]
fn what_is_cut_is_masked_to_the_end() {
    check_mask("select 'open and, (1) more", "select ?");
    check_mask("select \"open\\", "select ?");
    check_mask("select 'it''", "select ?");
    check_mask("select 1e", "select ?");
    check_mask("select 1.", "select ?");
    check_mask("select 0x", "select ?");
    check_mask("select x'4", "select ?");
    check_mask("select `open", "select `open");
    check_mask("select $a$ open", "select ?");
}

#[test]
fn a_comment_is_masked_but_code_in_one_is_code() {
    check_mask("select /* for Eve */ 1 -- her pin 17\n, 2 # x", "select /*?*/ ? -- ?\n, ? #?");
    check_mask("select /*!50001 'x', */ 1", "select /*!50001 ?, */ ?");
    check_mask("select /*+ MAX_EXECUTION_TIME(5) */ a", "select /*+ MAX_EXECUTION_TIME(?) */ a");
    check_mask("select /* open", "select /*?");
    check_mask("/**/ -- \n#\n", "/**/ -- \n#\n");
}

#[test]
fn without_backslash_escapes_a_string_ends_at_its_quote() {
    let text = b"select 'a\\', 'b' -- it's";
    let mut out = Vec::new();
    sql::mask(text, Backslashes::Plain, &mut out);
    assert_eq!(out, b"select ?, ? -- ?");
    out.clear();
    sql::mask(text, Backslashes::Escape, &mut out);
    // Backslash and quote are in the string; it ends before `b'…'`.
    assert_eq!(out, b"select ??s");
}

#[test]
fn a_text_is_parted_where_the_server_parts_it() {
    check_parts("select 1", &["select 1"]);
    check_parts("select 1;", &["select 1"]);
    check_parts(" select 1 ;\n select ';' ; -- x;\n", &["select 1", "select ';'"]);
    check_parts(";;", &[]);
    check_parts("begin; select 1; commit", &["begin", "select 1", "commit"]);
    check_parts("select not 1; select 2", &["select not 1", "select 2"]);
    check_parts(
        "create procedure p() begin select 1; if 1 then select case 1 when 1 then 2 end; end if; end; call p()",
        &[
            "create procedure p() begin select 1; if 1 then select case 1 when 1 then 2 end; end if; end",
            "call p()",
        ],
    );
    check_parts("create procedure p() select 1; select 2", &["create procedure p() select 1", "select 2"]);
    check_parts("begin not atomic select 1; end; select 2", &["begin not atomic select 1; end", "select 2"]);
    check_parts(
        "create or replace definer=a@b trigger t before insert on x for each row begin case n when 1 then \
         set @a = 1; end case; end; select 1",
        &[
            "create or replace definer=a@b trigger t before insert on x for each row begin case n when 1 then \
             set @a = 1; end case; end",
            "select 1",
        ],
    );
}

#[test]
fn use_chooses_a_database_and_set_names_a_character_set() {
    let used = |text: &str| {
        let name = sql::used_database(text.as_bytes(), Backslashes::Escape);
        name.map(|name| String::from_utf8(name.into_owned()).unwrap())
    };
    assert_eq!(used("use shop"), Some("shop".into()));
    assert_eq!(used("/* x */ USE `a``b`;"), Some("a`b".into()));
    assert_eq!(used("use 2fa"), Some("2fa".into()));
    assert_eq!(used("use"), None);
    assert_eq!(used("select 1"), None);
    let charset = |text: &str| {
        let name = sql::client_charset(text.as_bytes(), Backslashes::Escape);
        name.map(|name| String::from_utf8(name.into_owned()).unwrap())
    };
    assert_eq!(charset("SET NAMES utf8mb4"), Some("utf8mb4".into()));
    assert_eq!(charset("set names 'gbk' collate 'gbk_bin'"), Some("gbk".into()));
    assert_eq!(charset("set character set latin1"), Some("latin1".into()));
    assert_eq!(charset("set autocommit=1"), None);
    assert_eq!(sql::verb(b" /* a */ (select 1)", Backslashes::Escape), None);
    assert_eq!(sql::verb(b" /* a */ SELECT 1", Backslashes::Escape), Some(&b"SELECT"[..]));
}

/// What tokens begin and end with.
const PARTS: &[&str] = &[
    "select",
    "insert into t values",
    "in",
    "(",
    ")",
    ",",
    " ",
    "\n",
    "'",
    "\"",
    "`",
    "\\",
    "--",
    "-- ",
    "#",
    "/*",
    "*/",
    "/*!",
    "/*+",
    "x'",
    "N'",
    "$$",
    "$",
    "?",
    "@",
    ".",
    "1",
    "0x1f",
    "1e5",
    "union",
    "union all",
    "limit",
    "order by",
    "asc",
    "call",
    "use",
    "null",
    "begin",
    "end",
    "case",
    "create procedure",
    ";",
    "ä",
    "\u{0}",
];

/// Parts of statements, so that random ones are near real ones.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![6 => proptest::sample::select(PARTS).prop_map(String::from), 1 => "\\PC{0,4}"]
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(part(), 0..40).prop_map(|parts| parts.concat())
}

/// The same string in the other quotes.
fn double_quoted(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\'' => '"',
            '"' => '\'',
            other => other,
        })
        .collect()
}

/// A literal with a secret in it, as it may stand in a statement.
fn literal() -> impl Strategy<Value = String> {
    let inner = proptest::collection::vec(
        prop_oneof![
            Just("''"),
            Just("\\'"),
            Just("\\\\"),
            Just("\""),
            Just("--"),
            Just("/*"),
            Just("#"),
            Just("`"),
            Just("\n"),
            Just("SECRET"),
            Just(";"),
            Just("?"),
            Just("$$")
        ],
        0..8,
    );
    let string = inner.prop_map(|inner| format!("'SECRET{}SECRET'", inner.concat()));
    prop_oneof![
        string.clone(),
        string.clone().prop_map(|text| format!("N{text}")),
        string.prop_map(|text| double_quoted(&text)),
        (7_770_000_u64..7_779_999).prop_map(|number| number.to_string()),
        (7_770_000_u64..7_779_999).prop_map(|number| format!("{number}.777e-77")),
        Just("0x777ABC777".to_owned()),
        Just("x'777ABC777'".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tokens_are_the_text(bytes in proptest::collection::vec(any::<u8>(), 0..200), plain in any::<bool>()) {
        check_tokens(&bytes, plain)?;
    }

    #[test]
    fn tokens_of_what_looks_like_sql_are_the_text(text in text(), plain in any::<bool>()) {
        check_tokens(text.as_bytes(), plain)?;
    }

    #[test]
    fn a_literal_never_gets_through(
        parts in proptest::collection::vec(("(select|where a =|,|in \\(|\\)|/\\*!50001|`na'me`|\\+|@v :=|case)", literal()), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let parts: Vec<_> = parts.iter().map(|(before, literal)| format!("{before} {literal} ")).collect();
        let text = parts.concat();
        let bytes = text.as_bytes();
        for end in [bytes.len(), cut.index(bytes.len())] {
            for write in [sql::mask, sql::fingerprint] {
                let mut out = Vec::new();
                write(&bytes[..end], Backslashes::Escape, &mut out);
                let out = String::from_utf8_lossy(&out).to_uppercase();
                prop_assert!(!out.contains("SEC") && !out.contains("77"), "{out} of {}", &text[..end]);
            }
        }
    }

    #[test]
    fn a_mask_of_a_mask_is_itself(text in text()) {
        let mut once = Vec::new();
        sql::mask(text.as_bytes(), Backslashes::Escape, &mut once);
        // A literal that ran into another token may change what follows; a masked text has none.
        let has_literal = Tokens::new(&once, Backslashes::Escape)
            .any(|token| token.kind == Kind::String);
        prop_assume!(!has_literal);
        let mut twice = Vec::new();
        sql::mask(&once, Backslashes::Escape, &mut twice);
        prop_assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
    }

    #[test]
    fn values_do_not_change_a_fingerprint(one in literal(), other in literal()) {
        let of = |value: &str| fingerprint(&format!("select a from t where b = {value} and c in ({value}, {value})"));
        // The prefix of a national string stays, as in the toolkit.
        let of_n = |value: &str| of(value.strip_prefix('N').unwrap_or(value));
        prop_assert_eq!(of_n(&one), of_n(&other));
    }
}

fn check_tokens(bytes: &[u8], plain: bool) -> Result<(), TestCaseError> {
    let backslashes = if plain { Backslashes::Plain } else { Backslashes::Escape };
    let mut at = 0;
    for token in Tokens::new(bytes, backslashes) {
        prop_assert_eq!(token.start, at);
        prop_assert!(token.end > at);
        at = token.end;
    }
    prop_assert_eq!(at, bytes.len());
    let mut out = Vec::new();
    sql::fingerprint(bytes, backslashes, &mut out);
    sql::mask(bytes, backslashes, &mut out);
    let parts: usize = sql::statements(bytes, backslashes).map(<[u8]>::len).sum();
    prop_assert!(parts <= bytes.len());
    Ok(())
}

fn fingerprint(text: &str) -> String {
    let mut out = Vec::new();
    sql::fingerprint(text.as_bytes(), Backslashes::Escape, &mut out);
    String::from_utf8(out).unwrap()
}

fn check_mask(text: &str, expected: &str) {
    let mut out = Vec::new();
    sql::mask(text.as_bytes(), Backslashes::Escape, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected, "of {text}");
}

fn check_parts(text: &str, expected: &[&str]) {
    let parts: Vec<_> = sql::statements(text.as_bytes(), Backslashes::Escape)
        .map(|part| String::from_utf8(part.to_vec()).unwrap())
        .collect();
    assert_eq!(parts, expected, "of {text}");
}

/// The file's `\n`, `\t`, `\r`, `\s` (a blank at the end of a line) and `\\`.
fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let mut out = String::new();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                's' => ' ',
                'v' => 'v',
                other => other,
            },
            other => other,
        });
    }
    out
}
