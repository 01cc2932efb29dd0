//! The whole suite on older servers, when everything is asked for.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use waypost_testkit::containers::{Server, ZOOKEEPER};
use waypost_testkit::{Outcome, Subject, cases};

use crate::help::{Verdict, given, laws};
use crate::support::Zookeeper;

laws! {
    the_suite_holds_on_3_8,
    the_suite_holds_without_recursive_watches,
    the_suite_holds_on_3_4_but_for_one_case,
}

/// Cases at the same time.
const AT_ONCE: usize = 24;

const V3_8: Image = Image {
    name: "zookeeper-3.8",
    image: "waypost/zookeeper:3.8",
    variable: "WAYPOST_IMAGE_ZOOKEEPER_3_8",
};

const V3_4: Image = Image {
    name: "zookeeper-3.4",
    image: "waypost/zookeeper:3.4",
    variable: "WAYPOST_IMAGE_ZOOKEEPER_3_4",
};

/// A row of `docker/images.sh`.
struct Image {
    name: &'static str,
    image: &'static str,
    variable: &'static str,
}

async fn the_suite_holds_on_3_8() -> Verdict {
    suite(V3_8, "", &[]).await
}

async fn the_suite_holds_without_recursive_watches() -> Verdict {
    suite(V3_8, "server_version=3.5.10", &[]).await
}

async fn the_suite_holds_on_3_4_but_for_one_case() -> Verdict {
    // A takeover is two requests there.
    let except = ["a_restart_with_the_same_id_is_never_absent"];
    suite(V3_4, "server_version=3.4.13", &except).await
}

async fn suite(image: Image, query: &'static str, except: &[&str]) -> Verdict {
    if std::env::var_os("WAYPOST_FULL").is_none() {
        return Verdict::NotAskedFor("half a minute; WAYPOST_FULL=1 runs it");
    }
    let mut recipe = ZOOKEEPER;
    recipe.name = image.name;
    recipe.image = image.image;
    recipe.image_variable = image.variable;
    let server = given!(Server::start(&recipe).await);
    let subject = given!(Zookeeper::at(server.address(), query).await);
    let subject: Arc<dyn Subject> = Arc::new(subject);
    let wanted = cases().iter().filter(|case| !except.contains(&case.name));
    let failed: Vec<String> = stream::iter(wanted)
        .map(|case| {
            let subject = Arc::clone(&subject);
            async move { (case.name, case.check(subject).await) }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |(name, outcome)| match outcome {
            Outcome::Failed(text) => Some(format!("{name}: {text}")),
            _ => None,
        })
        .collect()
        .await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Verdict::Kept
}
