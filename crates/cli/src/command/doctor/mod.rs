//! `waypost doctor`: what is wrong with the set-up, if anything.

mod examine;
mod records;
mod report;

use std::time::Duration;

use crate::failure::Outcome;
use crate::session::Session;

use report::Report;

/// Checks configuration, registry and records, and shows what it found.
pub(super) async fn doctor(session: &Session, read_only: bool) -> Outcome {
    let mut report = Report::default();
    // What cannot even be parsed is an error of usage, as everywhere.
    let target = session.target()?;
    let driver = session.driver()?;
    examine::configuration(session, &mut report, &target, driver);
    let registry = session.registry().await?;
    if let Some(instances) = examine::registry(session, &mut report, &*registry, driver).await {
        records::examine(&mut report, &*registry, &instances);
        if driver.profile.writable && !read_only {
            examine::round_trip(session, &mut report, &*registry).await;
        } else {
            report.skip(
                "registry",
                "round trip",
                "nothing is written to this registry",
            );
        }
    }
    report.write(&session.output)?;
    Ok(report.code())
}

/// A length of time with as many digits as matter.
fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{:.1} ms", duration.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
