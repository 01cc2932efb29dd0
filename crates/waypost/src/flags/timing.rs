//! The ttl and the interval of a registration.

use waypost_core::RegistrationOptions;

use super::Flags;

impl Flags {
    /// How to register: flags and environment over `code`, the program's own options.
    ///
    /// ```
    /// use std::time::Duration;
    /// use waypost::RegistrationOptions;
    /// use waypost::flags::Flags;
    ///
    /// let code = RegistrationOptions::new().with_ttl(Duration::from_secs(90));
    /// let mut flags = Flags::default();
    /// flags.register_interval = Some(Duration::from_secs(20));
    /// let options = flags.registration(code);
    /// assert_eq!(options.ttl, Duration::from_secs(90));
    /// assert_eq!(options.interval, Some(Duration::from_secs(20)));
    /// ```
    #[must_use]
    pub fn registration(&self, code: RegistrationOptions) -> RegistrationOptions {
        let mut options = code;
        options.ttl = self.register_ttl.unwrap_or(options.ttl);
        options.interval = self.register_interval.or(options.interval);
        options
    }
}

/// One sentence where the interval is taken but is more than half of the ttl, so that one beat that
/// fails leaves no time for a second. A pair that is refused anyway has none.
#[must_use]
pub fn timing_warning(options: &RegistrationOptions) -> Option<String> {
    let doubtful = options.ttl / 2..options.ttl;
    let interval = options
        .interval
        .filter(|interval| *interval != doubtful.start && doubtful.contains(interval))?;
    Some(format!(
        "an interval of {interval:?} is more than half of the ttl of {:?}: one late renewal removes \
         the record",
        options.ttl
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_pairs_of_go_micros_guides_are_warned_of_only_above_a_half() {
        for (ttl, interval, warned) in [
            (30, 15, false),
            (30, 20, true),
            (15, 10, true),
            (30, 10, false),
            (60, 59, true),
            (30, 30, false),
        ] {
            let options = RegistrationOptions::new()
                .with_ttl(Duration::from_secs(ttl))
                .with_interval(Duration::from_secs(interval));
            assert_eq!(
                timing_warning(&options).is_some(),
                warned,
                "{ttl}/{interval}"
            );
        }
        assert_eq!(timing_warning(&RegistrationOptions::new()), None);
    }

    #[test]
    fn an_unset_flag_leaves_the_code_its_timing() {
        let code = RegistrationOptions::new()
            .with_ttl(Duration::from_secs(90))
            .with_interval(Duration::from_secs(9));
        let unset = Flags::default().registration(code.clone());
        assert_eq!((unset.ttl, unset.interval), (code.ttl, code.interval));
        let flags = Flags {
            register_ttl: Some(Duration::from_secs(60)),
            ..Flags::default()
        };
        let set = flags.registration(code.clone());
        assert_eq!(
            (set.ttl, set.interval),
            (Duration::from_secs(60), code.interval)
        );
    }
}
