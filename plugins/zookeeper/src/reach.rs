//! Why no session could be opened: the client says only that it could not.

use std::borrow::Cow;
use std::io::{ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long one address may take to answer.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long a connection that is taken is waited on for being closed again.
const CLOSES: Duration = Duration::from_millis(800);

/// How long what was seen is told again, before the servers are looked at anew: each look dials.
const SEEN: Duration = Duration::from_secs(30);

/// What was seen of the servers from outside.
#[derive(Debug, Default)]
pub(crate) struct Outlook(Mutex<Option<(Instant, String)>>);

impl Outlook {
    /// What can be seen of the servers, as the end of a sentence.
    ///
    /// # Cancel safety
    /// Safe; a thread may look a moment longer.
    pub(crate) async fn explain(&self, addresses: &[String], tls: bool) -> String {
        if let Some((at, seen)) = &*self.seen()
            && at.elapsed() < SEEN
        {
            return seen.clone();
        }
        let addresses: Vec<String> = addresses.iter().take(3).cloned().collect();
        let looked = tokio::task::spawn_blocking(move || {
            let all = addresses
                .iter()
                .map(|address| format!("{address} {}", look(address, tls)));
            all.collect::<Vec<_>>().join(", ")
        });
        let seen = looked.await.unwrap_or_default();
        *self.seen() = Some((Instant::now(), seen.clone()));
        seen
    }

    fn seen(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(address: &str, tls: bool) -> Cow<'static, str> {
    let found = match address.to_socket_addrs() {
        Ok(mut found) => found.next(),
        Err(_) => return "is no known name".into(),
    };
    let Some(found) = found else {
        return "is a name without an address".into();
    };
    match TcpStream::connect_timeout(&found, PATIENCE) {
        Ok(stream) => listen(stream, tls).into(),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refuses connections".into(),
        Err(error) if error.kind() == ErrorKind::TimedOut => "does not answer".into(),
        // The fault may be on this side: no descriptor left, no route.
        Err(error) => format!("cannot be dialled: {error}").into(),
    }
}

/// What a server does with a connection on which nothing is said.
fn listen(mut stream: TcpStream, tls: bool) -> &'static str {
    let closed = "closes connections at once; it may have as many of this address as it takes \
                  (`maxClientCnxns`)";
    if stream.set_read_timeout(Some(CLOSES)).is_err() {
        return closed;
    }
    match stream.read(&mut [0]) {
        Ok(_) => closed,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            match tls {
                false => {
                    "takes connections but opens no session; it may have no quorum, or want TLS \
                     on this port"
                }
                true => {
                    "takes connections but opens no session; it may have no quorum, speak no TLS \
                     on this port, or one side does not take the other's certificate"
                }
            }
        }
        Err(_) => closed,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    async fn explain(addresses: &[String], tls: bool) -> String {
        Outlook::default().explain(addresses, tls).await
    }

    #[tokio::test]
    async fn what_is_seen_from_outside_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = listener.local_addr().expect("address").to_string();
        let silent = explain(std::slice::from_ref(&address), true).await;
        assert!(silent.contains("certificate"), "{silent}");

        let closing = std::thread::spawn(move || {
            // The first is the one above.
            for _ in 0..2 {
                drop(listener.accept());
            }
        });
        let closed = explain(std::slice::from_ref(&address), false).await;
        assert!(closed.contains("maxClientCnxns"), "{closed}");
        closing.join().expect("listener");

        let refused = explain(&[address, "no.such.name.invalid:1".to_owned()], false).await;
        assert!(refused.contains("refuses connections"), "{refused}");
        assert!(refused.contains("no.such.name.invalid:1 is"), "{refused}");
    }

    #[tokio::test]
    async fn what_was_seen_is_not_looked_at_again_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = [listener.local_addr().expect("address").to_string()];
        let outlook = Outlook::default();
        let silent = outlook.explain(&address, false).await;
        drop(listener);
        assert_eq!(outlook.explain(&address, false).await, silent);
        let refused = explain(&address, false).await;
        assert!(refused.contains("refuses connections"), "{refused}");
    }
}
