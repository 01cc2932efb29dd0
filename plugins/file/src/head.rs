//! The first field of a record's file: whose it is, and until when it lives.
//!
//! A renewal writes the deadline in place, which wakes no watcher, so every field has its place:
//!
//! ```text
//! {"waypost":{"boot":"…","owner":"…","revision":"…","ttl":"…","deadline":"…","confirm":"…"},"name":…
//! ```
//!
//! A reader may see a write half done. The deadline stands there twice: as long as both are equal,
//! no such half was seen.

use crate::clock::{Boot, Moment};

/// Names one registration: whoever registers anew, be it under the same key, has another.
pub(crate) type Owner = u128;

/// What stands before the record itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) boot: String,
    pub(crate) owner: Owner,
    /// How many times the content was written by this owner.
    pub(crate) revision: u32,
    /// In milliseconds.
    pub(crate) ttl: u64,
    pub(crate) deadline: Moment,
}

const BOOT: &str = r#"{"waypost":{"boot":""#;
const OWNER: &str = r#"","owner":""#;
const REVISION: &str = r#"","revision":""#;
const TTL: &str = r#"","ttl":""#;
const DEADLINE: &str = r#"","deadline":""#;
const CONFIRM: &str = r#"","confirm":""#;
const END: &str = r#""},"#;

const OWNER_WIDTH: usize = 32;
const REVISION_WIDTH: usize = 8;
const TTL_WIDTH: usize = 16;
const DEADLINE_WIDTH: usize = 20;

/// Where the deadline stands.
pub(crate) const DEADLINE_AT: u64 = (BOOT.len()
    + Boot::LENGTH
    + OWNER.len()
    + OWNER_WIDTH
    + REVISION.len()
    + REVISION_WIDTH
    + TTL.len()
    + TTL_WIDTH
    + DEADLINE.len()) as u64;

/// Bytes of the head.
pub(crate) const LENGTH: usize =
    DEADLINE_AT as usize + DEADLINE_WIDTH + CONFIRM.len() + DEADLINE_WIDTH + END.len();

/// Why bytes are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Something else stands there.
    Foreign,
    /// Somebody is writing at this moment: read again.
    Torn,
}

impl Head {
    /// The file of a record: the head, then the record's own fields.
    pub(crate) fn before(&self, record: &[u8]) -> Vec<u8> {
        let fields = record.strip_prefix(b"{").unwrap_or(record);
        let mut file = Vec::with_capacity(LENGTH + fields.len());
        let Self {
            boot,
            owner,
            revision,
            ttl,
            ..
        } = self;
        file.extend_from_slice(
            format!(
                "{BOOT}{boot}{OWNER}{owner:032x}{REVISION}{revision:08x}{TTL}{ttl:016}{DEADLINE}"
            )
            .as_bytes(),
        );
        file.extend_from_slice(deadline(self.deadline).as_bytes());
        file.extend_from_slice(END.as_bytes());
        file.extend_from_slice(fields);
        file
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let text = bytes
            .get(..LENGTH)
            .and_then(|head| std::str::from_utf8(head).ok());
        let mut rest = text.ok_or(Fault::Foreign)?;
        let mut field = |label: &str, width: usize| {
            let (value, tail) = rest.strip_prefix(label)?.split_at_checked(width)?;
            rest = tail;
            Some(value)
        };
        let mut fields = || {
            let boot = field(BOOT, Boot::LENGTH)?;
            let owner = Owner::from_str_radix(field(OWNER, OWNER_WIDTH)?, 16).ok()?;
            let revision = u32::from_str_radix(field(REVISION, REVISION_WIDTH)?, 16).ok()?;
            let ttl = field(TTL, TTL_WIDTH)?.parse().ok()?;
            let deadline = field(DEADLINE, DEADLINE_WIDTH)?;
            let confirm = field(CONFIRM, DEADLINE_WIDTH)?;
            field(END, 0)?;
            Some((boot, owner, revision, ttl, deadline, confirm))
        };
        let (boot, owner, revision, ttl, deadline, confirm) = fields().ok_or(Fault::Foreign)?;
        if deadline != confirm {
            return Err(Fault::Torn);
        }
        Ok(Self {
            boot: boot.to_owned(),
            owner,
            revision,
            ttl,
            deadline: deadline.parse().map_err(|_| Fault::Foreign)?,
        })
    }

    /// Whether the record lives at `now` of `boot`.
    pub(crate) fn is_live(&self, boot: &Boot, now: Moment) -> bool {
        self.boot == boot.as_str() && now < self.deadline
    }
}

/// What a renewal writes at [`DEADLINE_AT`].
pub(crate) fn deadline(deadline: Moment) -> String {
    format!("{deadline:020}{CONFIRM}{deadline:020}")
}

/// Turns a file into the record alone, in place: what follows the head, with its `{`.
pub(crate) fn strip(file: &mut [u8]) -> &[u8] {
    match file.get_mut(LENGTH - 1..) {
        Some(record) => {
            record[0] = b'{';
            record
        }
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "51956882-a909-4395-91b2-60606d0e56db";

    fn head(deadline: Moment) -> Head {
        Head {
            boot: ID.to_owned(),
            owner: 7,
            revision: 1,
            ttl: 30_000,
            deadline,
        }
    }

    #[test]
    fn a_record_lives_until_its_deadline_in_its_boot() {
        let here = Boot::named(ID);
        let other = Boot::named("00000000-0000-0000-0000-000000000000");
        assert!(head(10).is_live(&here, 9));
        assert!(!head(10).is_live(&here, 10));
        assert!(!head(10).is_live(&other, 9));
    }

    #[test]
    fn what_follows_the_head_is_the_record() {
        let mut file = head(1).before(br#"{"name":"a"}"#);
        assert!(file.starts_with(br#"{"waypost":{"boot":"#));
        assert_eq!(strip(&mut file), br#"{"name":"a"}"#);
        assert_eq!(strip(&mut []), b"");
    }

    #[test]
    fn junk_is_no_head() {
        let file = head(1).before(b"{}");
        assert_eq!(Head::parse(&file[..LENGTH - 1]), Err(Fault::Foreign));
        assert_eq!(Head::parse(&[0xff; 500]), Err(Fault::Foreign));
        assert_eq!(Head::parse(b""), Err(Fault::Foreign));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            owner in any::<u128>(), revision in any::<u32>(), ttl in 0..10u64.pow(15), deadline in any::<u64>(),
        ) {
            let head = Head { boot: ID.to_owned(), owner, revision, ttl, deadline };
            prop_assert_eq!(Head::parse(&head.before(b"{}")), Ok(head));
        }

        #[test]
        fn a_renewal_seen_half_done_is_never_taken_for_a_deadline(
            old in any::<u64>(), new in any::<u64>(), at in 0..=50usize, backwards in any::<bool>(),
        ) {
            let mut file = head(old).before(b"{}");
            let text = deadline(new);
            let start = usize::try_from(DEADLINE_AT).expect("small");
            let half = if backwards { at.min(text.len())..text.len() } else { 0..at.min(text.len()) };
            for n in half {
                file[start + n] = text.as_bytes()[n];
            }
            match Head::parse(&file) {
                Ok(read) => prop_assert!(read.deadline == old || read.deadline == new),
                Err(fault) => prop_assert_eq!(fault, Fault::Torn),
            }
        }

        #[test]
        fn any_bytes_are_a_head_or_none(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Head::parse(&bytes);
        }
    }
}
