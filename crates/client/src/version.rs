//! Which HTTP a node is spoken to in.

/// Which HTTP a node is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    /// 1.1, a call at a time on a connection.
    One,
    /// 2, with as many calls as come on one connection.
    Two,
}
