//! Which records of a session somebody holds, and until when. Knows no server and no tasks.
//!
//! A session lives as long as its process reaches the server, so that an ephemeral znode alone
//! would outlive a lease that nobody renews. Hence each claim has a deadline of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Tells one claim from another of the same path.
pub(crate) type Token = u64;

/// The claims of one session, by the path of the znode.
#[derive(Debug)]
pub(crate) struct Claims {
    ttl: Duration,
    held: HashMap<Arc<str>, Claim>,
    /// Each claim once, ordered by the moment at which it ends.
    deadlines: BTreeMap<(Instant, Token), Arc<str>>,
    last: Token,
    /// While the server cannot be reached nothing can be renewed, and nothing ends.
    paused: bool,
}

#[derive(Debug)]
struct Claim {
    token: Token,
    deadline: Instant,
    /// Dropped with the claim, which tells the lease.
    _held: watch::Sender<()>,
}

impl Claims {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            held: HashMap::new(),
            deadlines: BTreeMap::new(),
            last: 0,
            paused: false,
        }
    }

    /// Claims a path for a ttl. Whoever claimed it before has lost it.
    pub(crate) fn take(&mut self, path: &Arc<str>, now: Instant) -> (Token, watch::Receiver<()>) {
        self.forget(path);
        self.last += 1;
        let (sender, held) = watch::channel(());
        let claim = Claim {
            token: self.last,
            deadline: now + self.ttl,
            _held: sender,
        };
        self.deadlines
            .insert((claim.deadline, claim.token), Arc::clone(path));
        self.held.insert(Arc::clone(path), claim);
        (self.last, held)
    }

    /// Whether the claim is still there.
    pub(crate) fn holds(&self, path: &str, token: Token) -> bool {
        self.held
            .get(path)
            .is_some_and(|claim| claim.token == token)
    }

    pub(crate) fn is_claimed(&self, path: &str) -> bool {
        self.held.contains_key(path)
    }

    /// Some of the paths.
    pub(crate) fn some(&self, most: usize) -> Vec<Arc<str>> {
        self.held.keys().take(most).cloned().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Gives the claim another ttl, if it is still there.
    pub(crate) fn renew(&mut self, path: &str, token: Token, now: Instant) -> bool {
        let Some(claim) = self.held.get_mut(path).filter(|claim| claim.token == token) else {
            return false;
        };
        let Some(key) = self.deadlines.remove(&(claim.deadline, token)) else {
            return false;
        };
        claim.deadline = now + self.ttl;
        self.deadlines.insert((claim.deadline, token), key);
        true
    }

    /// Ends the claim, if it is still there.
    pub(crate) fn release(&mut self, path: &str, token: Token) -> bool {
        let held = self.holds(path, token);
        if held {
            self.forget(path);
        }
        held
    }

    /// Ends all claims: the session is over.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.deadlines.clear();
    }

    /// Ends the claims whose time has come, and names their paths.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        while !self.paused
            && let Some(first) = self.deadlines.first_entry()
            && first.key().0 <= now
        {
            let path = first.remove();
            self.held.remove(&path);
            gone.push(path);
        }
        gone
    }

    /// When the next claim ends unless it is renewed.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let first = self.deadlines.first_key_value()?;
        (!self.paused).then_some(first.0.0)
    }

    /// Stops the clock, since the server cannot be reached.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    /// The server is back: every claim has a ttl from now on, as the session has.
    pub(crate) fn resume(&mut self, now: Instant) {
        if !std::mem::take(&mut self.paused) {
            return;
        }
        self.deadlines.clear();
        for (path, claim) in &mut self.held {
            claim.deadline = now + self.ttl;
            self.deadlines
                .insert((claim.deadline, claim.token), Arc::clone(path));
        }
    }

    fn forget(&mut self, path: &str) {
        if let Some(claim) = self.held.remove(path) {
            self.deadlines.remove(&(claim.deadline, claim.token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(4);

    fn claims() -> (Claims, Arc<str>, Instant) {
        (Claims::new(TTL), "/a/b".into(), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unrenewed_claim_ends_and_a_renewed_one_does_not() {
        let (mut claims, path, now) = claims();
        let (token, held) = claims.take(&path, now);
        assert!(claims.renew(&path, token, now + TTL / 2));
        assert_eq!(claims.next_deadline(), Some(now + TTL * 3 / 2));
        assert!(claims.expire(now + TTL).is_empty());
        assert!(held.has_changed().is_ok());
        assert_eq!(claims.expire(now + TTL * 3 / 2), [Arc::clone(&path)]);
        assert!(held.has_changed().is_err(), "the lease is told");
        assert!(!claims.renew(&path, token, now + TTL * 2));
        assert!(claims.is_empty() && claims.next_deadline().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_claim_counts() {
        let (mut claims, path, now) = claims();
        let (first, lost) = claims.take(&path, now);
        let (second, _held) = claims.take(&path, now + TTL / 2);
        assert!(lost.has_changed().is_err());
        assert!(!claims.renew(&path, first, now) && !claims.release(&path, first));
        assert!(claims.holds(&path, second) && claims.is_claimed(&path));
        assert!(claims.expire(now + TTL).is_empty());
        assert!(claims.release(&path, second));
        assert!(!claims.is_claimed(&path) && claims.next_deadline().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_does_not_count() {
        let (mut claims, path, now) = claims();
        let (token, _held) = claims.take(&path, now);
        claims.pause();
        assert!(claims.expire(now + TTL * 9).is_empty() && claims.next_deadline().is_none());
        claims.resume(now + TTL * 9);
        assert!(claims.expire(now + TTL * 9).is_empty());
        assert_eq!(claims.next_deadline(), Some(now + TTL * 10));
        assert!(claims.renew(&path, token, now + TTL * 9));
        claims.resume(now + TTL * 99);
        assert_eq!(
            claims.next_deadline(),
            Some(now + TTL * 10),
            "it was not paused"
        );
    }
}
