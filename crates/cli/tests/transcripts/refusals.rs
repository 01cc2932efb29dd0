//! Who is not believed, or does not believe the server, is told so at once, in one line that names
//! the server and the rule.

use std::time::Duration;

use libtest_mimic::Trial;
use waypost_testkit::containers::Papers;

use crate::guarded::{Backend, CANARY, Guarded, trials as on_each};
use crate::house::{House, Running, done, now, service};

/// How long a connection may take to be made, as the URLs say ([`Backend::bounds`]). A refusal
/// that waits for this is none, and a busy machine does not take as long.
const BOUND: Duration = Duration::from_secs(20);

pub(crate) fn trials() -> Vec<Trial> {
    on_each("refusals", each_refusal_names_the_server_and_the_rule)
}

/// What is tried, and what the one line must say.
struct Case {
    what: &'static str,
    line: &'static [&'static str],
    url: String,
    code: i32,
    /// What it is about: the server, or the option that is wrong.
    subject: String,
    /// One of these is the rule. What a server says of a client's certificate is its own choice.
    rules: &'static [&'static str],
}

const GET: &[&str] = &["get", "orders"];

fn each_refusal_names_the_server_and_the_rule(guarded: &Guarded) {
    let house = House::new();
    let welcome = run(&house, GET, &guarded.url(CANARY));
    assert_eq!(welcome.0, 1, "who is welcome is answered: {}", welcome.1);
    let strangers = Papers::new().expect("papers");
    let mut cases = of_certificates(guarded, &strangers);
    cases.extend(of_ports(guarded));
    cases.extend(of_secrets(guarded));
    let json = service("orders", 1);
    let mut owner = house.bare(&["register", &json, "--timeout", "60s"]);
    let owner = Running::start(owner.env("MICRO_REGISTRY", guarded.url(CANARY)));
    owner.said("registered until interrupted");
    let there = run(&house, GET, &guarded.url(CANARY));
    assert_eq!(there.0, 0, "the owner is there: {}", there.1);
    for case in &cases {
        holds(&house, guarded.backend, case);
    }
    guarded.show("expired");
    let expired = Case {
        what: "a server's certificate that has expired",
        line: GET,
        url: guarded.url(CANARY),
        code: 3,
        subject: guarded.server.address(),
        rules: &["the server's certificate has expired"],
    };
    holds(&house, guarded.backend, &expired);
}

/// The code and what was said, within the bound.
fn run(house: &House, line: &[&str], url: &str) -> (i32, String) {
    let mut command = house.bare(line);
    // So that no deadline of the command's own comes first.
    command.args(["--timeout", "60s"]);
    let done = done(command.env("MICRO_REGISTRY", url));
    assert!(done.code == 0 || done.stdout.is_empty(), "{done:?}");
    (done.code, done.stderr)
}

fn holds(house: &House, backend: Backend, case: &Case) {
    let begun = now();
    let (code, said) = run(house, case.line, &case.url);
    let took = begun.elapsed();
    let what = format!("{} on {}: {said}", case.what, backend.name());
    assert_eq!(code, case.code, "{what}");
    assert_eq!(said.lines().count(), 1, "{what}");
    assert!(said.starts_with("error: "), "{what}");
    assert!(said.contains(&case.subject), "{what}");
    assert!(case.rules.iter().any(|rule| said.contains(rule)), "{what}");
    assert!(!said.contains("S3CR3T"), "{what}");
    assert!(took < BOUND, "{took:?}: {what}");
}

fn of_certificates(guarded: &Guarded, strangers: &Papers) -> Vec<Case> {
    let name = guarded.backend.name();
    let address = guarded.server.address();
    let (ca, ours) = (guarded.papers.trusting(), guarded.papers.identity("client"));
    let other = strangers.trusting();
    let local = address.replace("127.0.0.1", "localhost");
    let case = |what, address: &str, query: String, rules| Case {
        what,
        line: GET,
        url: format!("{name}://{address}?{query}{}", guarded.backend.bounds()),
        code: 3,
        subject: address.to_owned(),
        rules,
    };
    vec![
        case(
            "an authority that is not ours",
            &address,
            format!("{other}&{ours}"),
            &["was issued by an authority that is not trusted; option `ca` names"],
        ),
        case(
            "a name that is not in the certificate",
            &local,
            format!("{ca}&{ours}"),
            &["is made out to other names than this address"],
        ),
        case(
            "no certificate where one is demanded",
            &address,
            ca.clone(),
            &["demands a client certificate", "or demands one"],
        ),
        case(
            "a client's certificate that has expired",
            &address,
            guarded.papers.showing("expired"),
            &["option `cert` has expired", "certificate of option `cert`"],
        ),
        case(
            "a client's certificate of another authority",
            &address,
            format!("{ca}&{}", strangers.identity("client")),
            &["certificate of option `cert`"],
        ),
    ]
}

fn of_ports(guarded: &Guarded) -> Vec<Case> {
    let name = guarded.backend.name();
    let (address, plain) = (guarded.server.address(), guarded.backend.plain());
    let cert = guarded.papers.identity("client");
    let half = cert.split("&key=").next().unwrap_or_default();
    // Consul's agents say what is wrong, so that it is known to be the configuration.
    let told = if guarded.backend == Backend::Consul {
        2
    } else {
        3
    };
    let case = |what, address: &str, query: String, code, subject: &str, rules| Case {
        what,
        line: GET,
        url: format!("{name}://{address}?{query}{}", guarded.backend.bounds()),
        code,
        subject: subject.to_owned(),
        rules,
    };
    let ca = guarded.papers.trusting();
    vec![
        case(
            "plain words to a port that speaks TLS",
            &address,
            String::new(),
            told,
            &address,
            &["TLS"],
        ),
        case(
            "TLS to a port that speaks none",
            &plain,
            format!("{ca}&{cert}"),
            3,
            &plain,
            &["not speak TLS on this port"],
        ),
        case(
            "a certificate without its key",
            &address,
            format!("{ca}&{half}"),
            2,
            "`cert` and `key`",
            &["belong together; one of them is missing"],
        ),
    ]
}

fn of_secrets(guarded: &Guarded) -> Vec<Case> {
    let backend = guarded.backend;
    let (line, rules): (&[&str], &[&str]) = match backend {
        Backend::Etcd => (GET, &["authentication failed, invalid user ID or password"]),
        Backend::Consul => (GET, &["the agent refuses the token: ACL not found"]),
        // Any password is somebody's; what another user owns is not theirs to change.
        Backend::Zookeeper => (
            &["deregister", "orders", "orders-1"],
            &["access list does not allow it"],
        ),
    };
    let mut cases = vec![Case {
        what: "a wrong password",
        line,
        url: guarded.strangers_url("S3CR3T-wrong"),
        code: 3,
        subject: guarded.server.address(),
        rules,
    }];
    if backend == Backend::Consul {
        let broken = "S3CR3T\nX-Consul-Token: S3CR3T";
        guarded.papers.write("token", broken).expect("written");
        let (address, file) = (guarded.server.address(), guarded.path("token"));
        let ca = guarded.papers.trusting();
        cases.push(Case {
            what: "a token with a line break",
            line: GET,
            url: format!(
                "consul://{address}?{ca}&token_file={file}{}",
                backend.bounds()
            ),
            code: 2,
            subject: "the token".to_owned(),
            rules: &["such as a line break"],
        });
    }
    cases
}
