//! Who is refused hears why, and what to do about it.

use byway_agent::edge::etcd::{Etcd, EtcdError, Options, Refusal, Revision, Transaction};
use byway_lab::etcd::{Certificates, Members, Tls};

use super::{connect, one_member, options, patiently, put, with_login, with_tls};

/// What comes of connecting: the whole error in one line, and the hint.
async fn refusal(options: &Options) -> (EtcdError, String, String) {
    let error = patiently(Etcd::connect(options)).await.unwrap_err();
    assert!(!error.may_be_done());
    let (text, hint) = (byway_agent::error::chain(&error), error.hint().unwrap_or_default());
    (error, text, hint)
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_is_told_for_what_it_is() {
    let members = Members::start(1, Tls::With, &[]).unwrap();
    let (files, endpoint) = (members.certificates(), &members.endpoints()[0]);
    let others = Certificates::make(&members.folder().join("others"), [127, 0, 0, 1].into()).unwrap();
    let good = with_tls(options(&members), files);
    connect(&good).await;

    let mut wrong_ca = good.clone();
    wrong_ca.tls.ca = Some(others.ca.clone());
    let (_, text, hint) = refusal(&wrong_ca).await;
    assert!(text.contains("invalid peer certificate") && text.contains(endpoint), "{text}");
    assert!(hint.contains("`etcd-ca`"), "{hint}");

    for identity in [Some(others.client.clone()), None] {
        let mut wrong_client = good.clone();
        wrong_client.tls.identity = identity;
        let (_, text, hint) = refusal(&wrong_client).await;
        assert!(text.contains("received fatal alert"), "{text}");
        assert!(hint.contains("client certificate"), "{hint}");
    }

    let mut named = good.clone();
    named.tls.server_name = Some("etcd.test".to_owned());
    connect(&named).await;
    named.tls.server_name = Some("other.test".to_owned());
    let (_, text, hint) = refusal(&named).await;
    assert!(hint.contains("for other names"), "{text}: {hint}");

    let mut mixed = good.clone();
    mixed.tls.identity = Some((files.client.0.clone(), others.client.1.clone()));
    let (_, text, hint) = refusal(&mixed).await;
    assert!(hint.contains("belong together"), "{text}: {hint}");

    let mut missing = good.clone();
    missing.tls.ca = Some(members.folder().join("nowhere.pem"));
    let (_, text, _) = refusal(&missing).await;
    assert!(text.contains("nowhere.pem"), "{text}");

    let mut plain = good.clone();
    plain.endpoints[0].tls = false;
    let (_, text, hint) = refusal(&plain).await;
    assert!(hint.contains("with TLS as the endpoint says"), "{text}: {hint}");
}

#[tokio::test]
async fn tls_to_a_member_without_it_is_told() {
    let members = one_member();
    let files = Certificates::make(&members.folder().join("tls"), [127, 0, 0, 1].into()).unwrap();
    let mut wrong = with_tls(options(&members), &files);
    wrong.endpoints[0].tls = true;
    let (_, text, hint) = refusal(&wrong).await;
    assert!(hint.contains("http"), "{text}: {hint}");
}

#[tokio::test]
async fn files_are_read_anew_for_each_connection() {
    let mut members = Members::start(1, Tls::With, &[]).unwrap();
    let others = Certificates::make(&members.folder().join("others"), [127, 0, 0, 1].into()).unwrap();
    let mut options = with_tls(options(&members), members.certificates());
    let ca = members.folder().join("ca-in-use.pem");
    std::fs::copy(&members.certificates().ca, &ca).unwrap();
    options.tls.ca = Some(ca.clone());
    let etcd = connect(&options).await;
    members.kill_all();
    members.start_all().unwrap();
    std::fs::copy(&others.ca, &ca).unwrap();
    assert!(etcd.get("a").await.unwrap_err().hint().unwrap().contains("`etcd-ca`"));
    std::fs::copy(&members.certificates().ca, &ca).unwrap();
    assert_eq!(etcd.get("a").await.unwrap(), None);
}

/// A cluster with the users root, byway (reads and writes below the prefix) and reader, who only reads there.
fn members_with_users() -> Members {
    let members = one_member();
    for words in [
        "user add root:secret",
        "user add byway:secret",
        "user add reader:secret",
        "role add byway",
        "role add reader",
        "role grant-permission byway --prefix=true readwrite /byway/test/",
        "role grant-permission reader --prefix=true read /byway/test/",
        "user grant-role root root",
        "user grant-role byway byway",
        "user grant-role reader reader",
        "auth enable",
    ] {
        let _ = members.ctl(&["role", "add", "root"]);
        members.ctl(&words.split(' ').collect::<Vec<_>>()).unwrap();
    }
    members
}

#[tokio::test]
async fn who_may_not_hears_whether_it_is_the_password_or_the_permission() {
    let members = members_with_users();
    let etcd = connect(&with_login(options(&members), "byway", "secret")).await;
    put(&etcd, "a", "1").await;

    let (error, text, hint) = refusal(&with_login(options(&members), "byway", "wrong")).await;
    assert_eq!(error.refusal(), Some(Refusal::Login), "{text}");
    assert!(hint.contains("password"), "{hint}");
    let (error, text, hint) = refusal(&options(&members)).await;
    assert_eq!(error.refusal(), Some(Refusal::NoUser), "{text}");
    assert!(hint.contains("say a user"), "{hint}");
    let elsewhere = Options { prefix: "/elsewhere/".to_owned(), ..options(&members) };
    let (error, text, hint) = refusal(&with_login(elsewhere, "byway", "secret")).await;
    assert_eq!(error.refusal(), Some(Refusal::Permission), "{text}");
    assert!(hint.contains("grant-permission"), "{hint}");

    let reader = connect(&with_login(options(&members), "reader", "secret")).await;
    assert_eq!(reader.list("").await.unwrap().entries.len(), 1);
    let error = reader.commit(&Transaction::new("put").put("a", "2", None)).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::Permission), "{error}");
    assert!(!error.may_be_done());
    assert_eq!(etcd.get("a").await.unwrap().unwrap().value, b"1");
}

#[tokio::test]
async fn who_may_not_watch_hears_it_at_once() {
    let members = members_with_users();
    let etcd = connect(&with_login(options(&members), "byway", "secret")).await;
    let watching =
        |words: &str| members.ctl(&["--user", "root:secret", "user", words, "byway", "byway"]).unwrap();
    watching("revoke-role");
    let error = etcd.watch("", Revision(1)).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::Permission), "{error:?}");
    watching("grant-role");
    etcd.watch("", Revision(1)).await.unwrap();
}

#[tokio::test]
async fn a_login_that_lapsed_is_renewed() {
    let members = members_with_users();
    let etcd = connect(&with_login(options(&members), "byway", "secret")).await;
    put(&etcd, "a", "1").await;
    members.ctl(&["--user", "root:secret", "auth", "disable"]).unwrap();
    put(&etcd, "a", "2").await;
    members.ctl(&["auth", "enable"]).unwrap();
    put(&etcd, "a", "3").await;
    etcd.watch("", Revision(1)).await.unwrap();
    assert_eq!(etcd.get("a").await.unwrap().unwrap().version, 3);
}

#[tokio::test]
async fn a_login_where_there_are_no_users_is_not_needed() {
    let members = one_member();
    let etcd = connect(&with_login(options(&members), "byway", "secret")).await;
    put(&etcd, "a", "1").await;
}

#[tokio::test]
async fn a_store_that_is_full_says_so_and_can_still_be_read() {
    let members = Members::start(1, Tls::Without, &["--quota-backend-bytes=1048576"]).unwrap();
    let etcd = connect(&options(&members)).await;
    put(&etcd, "a", "1").await;
    let large = "x".repeat(1 << 17);
    // Etcd counts what is there ten times a second, and takes more until then.
    let error = patiently(async {
        loop {
            let fill = Transaction::new("fill").put("fill", large.as_str(), None);
            if let Err(error) = etcd.commit(&fill).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!(error.refusal(), Some(Refusal::Full), "{error}");
    assert!(error.hint().unwrap().contains("alarm disarm") && !error.may_be_done());
    assert_eq!(etcd.get("a").await.unwrap().unwrap().value, b"1");
}
