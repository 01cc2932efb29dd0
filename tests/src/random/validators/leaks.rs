//! Memory and descriptors end where they began.

use super::super::story::Story;
use super::Breach;

/// KiB that resident memory may have grown by, beside a quarter: what an allocator keeps after a
/// burst, and pages of the program that the first fault of a kind brings in.
const MEMORY: u64 = 8 << 10;
/// Descriptors that there may be more of: a connection that is being replaced, and its successor,
/// for each of the two registries that a process may have.
const DESCRIPTORS: usize = 4;

pub(super) fn leaks(story: &Story) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut breach = |text| {
        breaches.push(Breach {
            at: story.ended,
            text,
        });
    };
    if story.used.is_empty() {
        breach("nobody's memory was measured".to_owned());
    }
    for (name, used) in &story.used {
        let (Some(before), Some(after)) = (used.before, used.after) else {
            breach(format!("{name}: measured at one end only"));
            continue;
        };
        let ((memory, descriptors), (memory_after, descriptors_after)) = (before, after);
        if memory_after > memory + memory / 4 + MEMORY {
            breach(format!(
                "{name}: {memory} KiB of memory became {memory_after}"
            ));
        }
        if descriptors_after > descriptors + DESCRIPTORS {
            breach(format!(
                "{name}: {descriptors} descriptors became {descriptors_after}"
            ));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::super::super::record::What;
    use super::super::fixture::Fixture;
    use super::*;

    fn used(memory: u64, descriptors: usize) -> Story {
        let usage = What::Usage {
            ended: true,
            memory,
            descriptors,
        };
        Fixture::whole().tell(59_999, "agent-a", usage).story()
    }

    #[test]
    fn what_grew_within_the_tolerance_is_none_and_beyond_is_a_breach() {
        assert_eq!(leaks(&used(20_480 + 5120 + 8192, 16)), []);
        assert_eq!(leaks(&used(20_480 + 5120 + 8193, 16)).len(), 1);
        assert_eq!(leaks(&used(20_480, 17)).len(), 1);
    }

    #[test]
    fn a_process_that_was_measured_once_is_a_breach() {
        let mut story = used(1, 1);
        story.used.entry("agent-b".to_owned()).or_default().before = Some((1, 1));
        assert_eq!(leaks(&story).len(), 1);
    }
}
