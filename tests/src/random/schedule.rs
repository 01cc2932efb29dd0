//! Which mishaps come when: drawn from a seed, and the same for the same seed.

use std::fmt;

use fastrand::Rng;

use super::mishap::{Millis, Mishap};

/// A mishap and when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// How long after the begin of the round.
    pub after: Millis,
    /// What happens.
    pub mishap: Mishap,
}

/// One or two mishaps, and the time without any that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Its number, from 1.
    pub number: usize,
    /// What happens.
    pub mishaps: Vec<Planned>,
    /// How long nothing happens once all has healed: a ttl at least, since a record that is lost
    /// again and again while it is young looks like a quarrel over its id.
    pub calm: Millis,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {}: ", self.number)?;
        for (place, planned) in self.mishaps.iter().enumerate() {
            if place > 0 {
                write!(f, "; after {} ms ", planned.after)?;
            }
            write!(f, "{}", planned.mishap)?;
        }
        Ok(())
    }
}

/// How many rounds of a hundred have two mishaps at once.
const DOUBLE: u32 = 35;

/// Draws rounds without end.
#[derive(Debug)]
pub struct Schedule {
    random: Rng,
    ttl: Millis,
    drawn: usize,
}

impl Schedule {
    /// The schedule of `seed` for records of this ttl.
    #[must_use]
    pub fn new(seed: u64, ttl: Millis) -> Self {
        Self {
            random: Rng::with_seed(seed),
            ttl,
            drawn: 0,
        }
    }
}

impl Iterator for Schedule {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let first = Mishap::draw(&mut self.random, self.ttl);
        let mut mishaps = vec![Planned {
            after: 0,
            mishap: first,
        }];
        if self.random.u32(..100) < DOUBLE {
            let second = loop {
                let other = Mishap::draw(&mut self.random, self.ttl);
                if other.goes_with(&first) {
                    break other;
                }
            };
            mishaps.push(Planned {
                after: self.random.u64(0..=first.lasts().max(1000)),
                mishap: second,
            });
        }
        self.drawn += 1;
        Some(Round {
            number: self.drawn,
            mishaps,
            calm: self.random.u64(self.ttl..=self.ttl * 7 / 5),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::mishap::{Trouble, Whose};
    use super::*;

    fn rounds(seed: u64, count: usize) -> Vec<Round> {
        Schedule::new(seed, 5000).take(count).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_one_another() {
        assert_eq!(rounds(7, 200), rounds(7, 200));
        assert_ne!(rounds(7, 5), rounds(8, 5));
    }

    #[test]
    fn a_longer_run_begins_as_a_shorter_one() {
        assert_eq!(rounds(7, 200)[..20], rounds(7, 20));
    }

    fn word(mishap: &Mishap) -> String {
        let word = match mishap {
            Mishap::Network { trouble, whose, .. } => format!("{trouble:?} {whose:?}"),
            Mishap::Stopped { lasts, .. } | Mishap::ServerPaused { lasts } => {
                format!("{mishap:?} {}", *lasts > 5000)
            }
            other => format!("{other:?}"),
        };
        word.chars().filter(|c| c.is_alphabetic()).collect()
    }

    #[test]
    fn everything_that_can_go_wrong_does() {
        let seen: BTreeSet<String> = rounds(1, 3000)
            .iter()
            .flat_map(|round| &round.mishaps)
            .map(|planned| word(&planned.mishap))
            .collect();
        let troubles = [
            Trouble::Held,
            Trouble::Reset,
            Trouble::Refused,
            Trouble::Late(1),
            Trouble::Narrow(1),
            Trouble::Sliced(1),
            Trouble::Cut(1),
        ];
        let parties = [
            Whose::Writer,
            Whose::Directories,
            Whose::Watches,
            Whose::Everybody,
        ];
        let (writer, which, lasts) = (0, 0, 1);
        let mut expected = vec![
            Mishap::Killed { writer, lasts },
            Mishap::Replaced { writer },
            Mishap::Terminated { writer, lasts },
            Mishap::Stopped { writer, lasts },
            Mishap::Stopped {
                writer,
                lasts: 15_000,
            },
            Mishap::ServerKilled { lasts },
            Mishap::ServerPaused { lasts },
            Mishap::ServerPaused { lasts: 9000 },
            Mishap::ServerWiped,
            Mishap::Deleted { writer, which },
            Mishap::LeaseEnded { writer, which },
        ];
        for trouble in troubles {
            expected.extend(parties.map(|whose| Mishap::Network {
                whose,
                trouble,
                lasts,
            }));
        }
        let expected: BTreeSet<String> = expected.iter().map(word).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn two_at_once_do_not_get_in_each_others_way() {
        let rounds = rounds(3, 3000);
        let double: Vec<_> = rounds.iter().filter(|r| r.mishaps.len() == 2).collect();
        assert!((900..1200).contains(&double.len()), "{}", double.len());
        for round in double {
            let [first, second] = &round.mishaps[..] else {
                panic!("two of them");
            };
            assert!(first.mishap.goes_with(&second.mishap), "{round}");
            assert!(second.after <= first.mishap.lasts().max(1000), "{round}");
        }
    }

    #[test]
    fn the_calm_lasts_a_ttl_so_that_no_record_is_lost_young() {
        assert!(rounds(2, 1000).iter().all(|round| round.calm >= 5000));
    }
}
