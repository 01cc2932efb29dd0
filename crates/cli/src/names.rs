//! Names that are looked up.

use waypost::{Registry, ServiceName, nearest};

use crate::failure::Failure;

/// A name to look up: what a service may be called, or what an older writer of a shared registry
/// may have called one (`a/b`).
pub(crate) fn sought(name: &str) -> Result<ServiceName, Failure> {
    if name.contains("..") {
        return Ok(ServiceName::new(name)?);
    }
    Ok(ServiceName::foreign(name)?)
}

/// Why nothing is there: a name that no new service could have says its rule, any other one the
/// name that may have been meant.
pub(crate) async fn not_found(registry: &dyn Registry, name: &ServiceName) -> Failure {
    if let Err(rule) = ServiceName::new(name.as_str()) {
        return Failure::from(rule);
    }
    // Only a hint: when it cannot be had, the answer stands without it.
    let services = registry.services().await.unwrap_or_default();
    let meant = nearest(name.as_str(), services.iter().map(ServiceName::as_str));
    let meant = meant.map(|near| format!("; did you mean `{near}`?"));
    Failure::no(format!(
        "service `{name}` is not registered{}",
        meant.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sought_unless_it_breaks_the_rule_of_paths() {
        for name in ["orders", "a/b", "topic:news"] {
            assert!(sought(name).is_ok(), "{name}");
        }
        for name in ["", "..", "a..b", "a/../b", "a\nb", &"x".repeat(129)] {
            let failure = sought(name).expect_err(name);
            assert_eq!(failure.code, 2, "{name}");
        }
    }
}
