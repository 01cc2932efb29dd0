//! Secrets that are written where they do not belong, and records that mean harm.

use libtest_mimic::Trial;

use crate::bad_input::refused;
use crate::house::{House, done, service};

pub(crate) fn trials() -> Vec<Trial> {
    crate::laws(
        "hostile",
        &[
            (
                "a_login_is_never_shown_however_wrongly_it_is_written",
                a_login_is_never_shown_however_wrongly_it_is_written,
            ),
            (
                "a_registry_that_is_not_there_is_told_without_a_secret",
                a_registry_that_is_not_there_is_told_without_a_secret,
            ),
            (
                "half_of_a_login_or_of_a_certificate_is_refused",
                half_of_a_login_or_of_a_certificate_is_refused,
            ),
            (
                "files_that_are_no_records_hide_no_good_one",
                files_that_are_no_records_hide_no_good_one,
            ),
        ],
    )
}

fn a_login_is_never_shown_however_wrongly_it_is_written() {
    let house = House::new();
    for registry in [
        "etcd://ann:S3C/S3CR3T@a",
        "etcd://ann:S3C?S3CR3T@a",
        "etcd://a:1,ann:S3CR3T@b",
        "etcd://https://ann:S3CR3T@a",
        "etcd:/ann:S3CR3T@a",
        "etcd:ann:S3CR3T@a",
        "ann:S3CR3T@a",
        "ann:S3CR3T@etcd://a",
        "etcd://ann:S3CR3T%zz@a",
        "etcd://ann:S3CR3T%0d%0aX@a",
        "unknown://ann:S3CR3T@a",
        "memory://a?token=S3CR3T",
    ] {
        let flag = done(&mut house.bare(&["doctor", "--registry", registry]));
        let variable = done(house.bare(&["doctor"]).env("MICRO_REGISTRY", registry));
        for done in [flag, variable] {
            assert_eq!(done.code, 2, "{registry} {done:?}");
            assert!(!format!("{done:?}").contains("S3CR3T"), "{done:?}");
            assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
        }
    }
}

/// Drivers of this binary that log in.
fn servers() -> Vec<&'static str> {
    let all = [
        ("etcd", cfg!(feature = "etcd")),
        ("consul", cfg!(feature = "consul")),
        ("zookeeper", cfg!(feature = "zookeeper")),
    ];
    all.into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect()
}

fn a_registry_that_is_not_there_is_told_without_a_secret() {
    let house = House::new();
    for driver in servers() {
        let mut command = house.bare(&["services"]);
        command
            .env(
                "MICRO_REGISTRY",
                format!("{driver}://ann:S3CR3T@127.0.0.1:1"),
            )
            .env("RUST_LOG", "trace");
        let gone = done(&mut command);
        assert_eq!((gone.code, gone.stdout.as_str()), (3, ""), "{gone:?}");
        assert!(!gone.stderr.contains("S3CR3T"), "{}", gone.stderr);
        let last = gone.stderr.lines().last().unwrap_or_default();
        let told = format!("error: {driver}: ");
        assert!(last.starts_with(&told), "{last}");
    }
}

fn half_of_a_login_or_of_a_certificate_is_refused() {
    let house = House::new();
    let file = |name: &str, text: &str| {
        let path = house.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let pem = file("pem", "S3CR3T");
    for driver in servers() {
        let registry = format!("--registry={driver}://127.0.0.1:1");
        for (half, needle) in [
            ("--registry_tls_cert", "belong together"),
            ("--registry_tls_key", "belong together"),
            ("--registry_tls_ca", "holds no valid PEM"),
        ] {
            let line = ["services", &registry, half, &pem];
            let done = done(&mut house.bare(&line));
            refused(&done, needle, &format!("{line:?}"));
            assert!(!done.stderr.contains("S3CR3T"), "{}", done.stderr);
        }
    }
    if cfg!(feature = "consul") {
        let broken = file("token", "S3CR3T\nX-Other: y");
        let registry = format!("--registry=consul://127.0.0.1:1?token_file={broken}");
        let done = done(&mut house.bare(&["services", &registry]));
        refused(&done, "token", "a token in two lines");
        assert!(!done.stderr.contains("S3CR3T"), "{}", done.stderr);
    }
}

/// Each behind the head of a record that lives, as only somebody who means harm would write it.
fn files_that_are_no_records_hide_no_good_one() {
    let house = House::new();
    house.register(&service("orders", 1), "60s");
    let folder = house.path().join("registry/orders");
    let good = std::fs::read_to_string(folder.join("orders-1.json")).expect("the record");
    let head = &good[..good.find("\"name\"").expect("its name")];
    let record = |name: &str, id: &str, address: &str| {
        let fields = service(name, 1).replace("127.0.0.1:9001", address);
        fields.replace(&format!("{name}-1"), id)[1..].to_owned()
    };
    let hostile = [
        ("empty", String::new()),
        ("null", "null".to_owned()),
        ("list", "[]".to_owned()),
        ("large", format!("\"name\":\"{}\"}}", "x".repeat(1_500_000))),
        ("deep", format!("\"name\":{}", "[".repeat(10_000))),
        (
            "deep-maps",
            format!("\"name\":{}", "{\"a\":".repeat(10_000)),
        ),
        ("huge", "\"name\":1e999}".to_owned()),
        ("other", record("users", "other", "10.0.0.1:80")),
        (
            "metadata",
            record("orders", "metadata", "169.254.169.254:80"),
        ),
        ("hex", record("orders", "hex", "0xa9fea9fe:80")),
        ("port", record("orders", "port", "10.0.0.1:99999")),
    ];
    for (name, fields) in &hostile {
        let file = folder.join(format!("{name}.json"));
        std::fs::write(file, format!("{head}{fields}")).expect("a file");
    }
    let no_text = [head.as_bytes(), b"\"name\":\"\xff\xfe\"}"].concat();
    std::fs::write(folder.join("no-text.json"), no_text).expect("a file");
    std::fs::write(folder.join("without-head.json"), "{}").expect("a file");

    assert_eq!(house.run(&["services", "-o", "name"]).stdout, "orders\n");
    let found = house.run(&["get", "orders", "-o", "name"]);
    assert_eq!(found.stdout, "orders/orders-1\n");
    let doctor = house.run(&["doctor", "--read_only"]);
    assert_eq!(doctor.code, 0, "{doctor:?}");
    let told = doctor.stdout.matches("skipped \"").count();
    let unlisted = hostile.len() + 2 - told;
    assert!(told >= 10, "{}", doctor.stdout);
    let rest = format!("and {unlisted} more");
    assert!(doctor.stdout.contains(&rest), "{}", doctor.stdout);
    assert!(doctor.stdout.len() < 20_000, "{}", doctor.stdout.len());
}
