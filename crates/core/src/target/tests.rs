use proptest::prelude::*;

use super::*;

fn parse(registry: &str, addresses: Option<&str>) -> Result<Target> {
    Target::parse(registry, addresses, Origin::Code)
}

#[test]
fn a_url_and_a_name_with_addresses_mean_the_same() {
    let url = parse("etcd://10.0.0.1,10.0.0.2:99", None).expect("url");
    let apart = parse("etcd", Some("10.0.0.1,10.0.0.2:99")).expect("apart");
    assert_eq!(url, apart);
    assert_eq!(
        url.endpoints("127.0.0.1:2379", 2379).expect("endpoints"),
        ["10.0.0.1:2379", "10.0.0.2:99"]
    );
}

#[test]
fn every_part_of_a_url_is_kept() {
    let target = parse("etcd://ann:p%40ss@a:1,b:2/my/prefix?ca=%2Fx.pem&flag", None).expect("url");
    assert_eq!(target.addresses(), ["a:1", "b:2"]);
    assert_eq!(target.path(), "/my/prefix");
    assert_eq!(target.options()["ca"], "/x.pem");
    assert_eq!(target.options()["flag"], "");
    assert_eq!(target.username(), Some("ann"));
    assert_eq!(target.password().map(Secret::expose), Some("p@ss"));
    for shown in [format!("{target:?}"), target.to_string()] {
        assert!(!shown.contains("p@ss"), "{shown}");
    }
}

#[test]
fn a_password_in_a_flag_is_refused_and_never_shown() {
    for text in ["etcd://ann:S3CR3T@a", "etcd://a?password=S3CR3T"] {
        let error = Target::parse(text, None, Origin::Flag).expect_err(text);
        assert!(!error.chain().contains("S3CR3T"), "{error}");
        assert!(Target::parse(text, None, Origin::Environment).is_ok());
    }
    let error = Target::parse("etcd", Some("ann:S3CR3T@a"), Origin::Flag);
    assert!(error.is_err());
}

#[test]
fn wrong_targets_are_named() {
    for (registry, addresses, needle) in [
        ("", None, "empty"),
        ("Etcd", None, "no name"),
        ("etcd:2379", None, "neither a name nor a URL"),
        ("etcd://a", Some("b"), "use one"),
        ("etcd://a?x=1&x=2", None, "twice"),
        ("etcd://a?x=%zz", None, "percent"),
        ("consul", Some("https://a,http://b"), "mix"),
    ] {
        let error = parse(registry, addresses).expect_err(registry).to_string();
        assert!(error.contains(needle), "{error}");
    }
    for address in ["a:0", "a:99999", "a b", ":1", "[x]:1", "a:b", "ftp://a"] {
        let target = parse("etcd", Some(address)).expect(address);
        assert!(target.endpoints("d:1", 1).is_err(), "{address}");
    }
}

#[test]
fn a_login_that_is_written_wrongly_is_never_taken_for_something_else() {
    for (registry, addresses) in [
        ("etcd://ann:S3C/S3CR3T@a", None),
        ("etcd://ann:S3C?S3CR3T@a", None),
        ("etcd://ann:1/S3CR3T@a", None),
        ("etcd://ann:x://S3CR3T@a", None),
        ("consul://https://ann:S3CR3T@a", None),
        ("etcd:ann:S3CR3T@a", None),
        ("ann:S3CR3T@a", None),
        ("ann:S3CR3T@etcd://a", None),
        ("etcd", Some("ann:x://S3CR3T@a")),
        ("etcd", Some("a:1,ann:S3CR3T@b")),
        ("etcd", Some("https://a,https://ann:S3CR3T@b")),
        ("etcd", Some("ann:a,S3CR3T@b")),
    ] {
        for origin in [Origin::Flag, Origin::Environment] {
            let error = Target::parse(registry, addresses, origin).expect_err(registry);
            assert!(!error.chain().contains("S3CR3T"), "{error}");
        }
    }
    let target = parse("etcd", Some("ann%3AS3CR3T%40a")).expect("an odd address");
    let error = target.endpoints("d:1", 1).expect_err("no address");
    assert!(!error.chain().contains("S3CR3T"), "{error}");
    let target = parse("consul", Some("https://ann:p@ss@a,https://b")).expect("target");
    assert_eq!(target.password().map(Secret::expose), Some("p@ss"));
    assert_eq!((target.addresses().len(), target.tls()), (2, true));
    let target = parse("consul://a?token=S3CR3T&token_file=/t", None).expect("target");
    let shown = format!("{target:?} {target}");
    assert!(
        !shown.contains("S3CR3T") && shown.contains("token_file=/t"),
        "{shown}"
    );
}

#[test]
fn https_asks_for_tls() {
    let target = parse("consul", Some("https://10.0.0.1:8501/")).expect("target");
    assert!(target.tls());
    assert_eq!(target.addresses(), ["10.0.0.1:8501"]);
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_but_never_shows_its_password(
        before in ".{0,20}", text in ".{0,80}",
    ) {
        // `etcduser://…@` is a URL of another registry, and names a user only.
        prop_assume!(!before.starts_with("//"));
        let login = format!("user:{before}S3CR3T@{text}");
        for (registry, addresses) in [
            (format!("etcd://{login}"), None),
            (format!("etcd{login}"), None),
            ("etcd".to_owned(), Some(login.as_str())),
        ] {
            let shown = match Target::parse(&registry, addresses, Origin::Environment) {
                Ok(target) => format!("{target:?}{target}{:?}", target.endpoints("d:1", 1)),
                Err(error) => error.chain(),
            };
            prop_assert!(!shown.contains("S3CR3T"), "{}", shown);
        }
    }
}
