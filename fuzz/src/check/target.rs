//! A registry as a person writes it.

use std::cell::LazyCell;

use tokio::runtime::{Builder, Runtime};
use waypost::Drivers;
use waypost_core::{Origin, Target};

use crate::rules;

/// Stands in no input but as a password.
const SECRET: &str = "S3CR3T";

/// Three texts: what stands before the password, what makes it longer, and what follows.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.contains(SECRET) {
        return;
    }
    parsed(text, None);
    let (registry, addresses) = text.split_once('\n').unwrap_or((text, ""));
    parsed(registry, Some(addresses));
    secrets(registry, addresses);
}

fn parsed(registry: &str, addresses: Option<&str>) {
    let target = match Target::parse(registry, addresses, Origin::Flag) {
        Ok(target) => target,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    assert_eq!(target.password(), None, "a flag holds no password");
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    assert!((1..=32).contains(&target.driver().len()) && target.driver().bytes().all(plain));
    assert!(target.path().is_empty() || target.path().starts_with('/'));
    assert!(!format!("{target}").contains(char::is_control));
    for endpoint in target.endpoints("127.0.0.1:1", 1).into_iter().flatten() {
        let (host, port) = endpoint.rsplit_once(':').expect("host:port");
        assert!(
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0),
            "{endpoint:?}"
        );
        assert!(
            !endpoint.contains([' ', '/', '@', '?', '#', ',']),
            "{endpoint:?}"
        );
    }
    let again = Target::parse(registry, addresses, Origin::Code).expect("it was taken from a flag");
    assert_eq!(again, target);
    // The one driver that reads its addresses itself.
    if target.driver() == "static" && !target.options().contains_key("file") {
        listed(&target);
    }
}

thread_local! {
    static RUNTIME: LazyCell<Runtime> = LazyCell::new(|| {
        let mut builder = Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    });
}

fn listed(target: &Target) {
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let Ok(registry) = Drivers::builtin().connect(target).await else {
                return;
            };
            let names = registry.services().await.expect("a list is there");
            assert!(!names.is_empty());
            for name in names {
                let all = registry.lookup(&name).await.expect("a list is there");
                all.iter().for_each(rules::keeps);
                assert!(!all.is_empty() && all.iter().all(|one| one.validate().is_ok()));
            }
        });
    });
}

/// However a login is written, its password is shown by nothing.
fn secrets(before: &str, after: &str) {
    let password = format!("{before}{SECRET}");
    let encoded: String = password
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    for password in [password, encoded] {
        let login = format!("ann:{password}@{after}");
        for (registry, addresses) in [
            (format!("etcd://{login}"), None),
            (format!("etcd://https://{login}"), None),
            (format!("etcd{login}"), None),
            (format!("etcd:/{login}"), None),
            ("etcd".to_owned(), Some(login.as_str())),
            ("etcd".to_owned(), Some(&*format!("https://{login}"))),
            ("etcd".to_owned(), Some(&*format!("a:1,{login}"))),
        ] {
            // `etcdann://…@` is a URL of another registry, and names a user only.
            if registry.starts_with("etcdann://") {
                continue;
            }
            unseen(&registry, addresses);
        }
    }
}

fn unseen(registry: &str, addresses: Option<&str>) {
    for origin in [Origin::Flag, Origin::Environment] {
        let shown = match Target::parse(registry, addresses, origin) {
            Ok(target) => {
                let hidden = target.password().is_none_or(|password| {
                    origin != Origin::Flag && !format!("{password:?}").contains(SECRET)
                });
                assert!(hidden, "{registry:?} {addresses:?}");
                format!("{target:?} {target} {:?}", target.endpoints("d:1", 1))
            }
            Err(error) => format!("{error:?} {}", error.chain()),
        };
        assert!(
            !shown.contains(SECRET),
            "{registry:?} {addresses:?}: {shown}"
        );
    }
}
