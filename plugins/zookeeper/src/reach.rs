//! Why no session could be opened: the client says only that it could not.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rustls::ClientConfig;
use tokio::time::Instant;
use waypost_plugin_kit::tls::Material;

use crate::handshake;

/// How long one address may take to answer.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long a server may take for one step of a handshake: a busy one that has just started needs more.
const SHAKES: Duration = Duration::from_secs(1);
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
    pub(crate) async fn explain(
        &self,
        addresses: &[String],
        material: Option<&Material>,
    ) -> String {
        if let Some((at, seen)) = &*self.seen()
            && at.elapsed() < SEEN
        {
            return seen.clone();
        }
        let tls = material.map(handshake::config);
        let looks = addresses.iter().take(3).map(|address| {
            let (address, tls) = (address.clone(), tls.clone());
            let look = move || format!("{address}{}", look(&address, tls.as_ref()));
            tokio::task::spawn_blocking(look)
        });
        let found = join_all(looks).await.into_iter().filter_map(Result::ok);
        let seen = found.collect::<Vec<_>>().join(", ");
        *self.seen() = Some((Instant::now(), seen.clone()));
        seen
    }

    /// Looks anew the next time.
    pub(crate) fn forget(&self) {
        *self.seen() = None;
    }

    fn seen(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is seen of one server; with `tls` it is spoken, if its material fits together.
fn look(address: &str, tls: Option<&Option<Arc<ClientConfig>>>) -> String {
    let found = match address.to_socket_addrs() {
        Ok(mut found) => found.next(),
        Err(_) => return " is no known name".to_owned(),
    };
    let Some(found) = found else {
        return " is a name without an address".to_owned();
    };
    match TcpStream::connect_timeout(&found, PATIENCE) {
        Ok(stream) => talk(stream, address, tls),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            " refuses connections".to_owned()
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => " does not answer".to_owned(),
        // The fault may be on this side: no descriptor left, no route.
        Err(error) => format!(" cannot be dialled: {error}"),
    }
}

/// What a server does with a connection, at first with one on which nothing is said.
fn talk(stream: TcpStream, address: &str, tls: Option<&Option<Arc<ClientConfig>>>) -> String {
    let stays = bound(&stream, CLOSES) && stays_open(&stream);
    let patience = if tls.is_some() { SHAKES } else { PATIENCE };
    if !stays || !bound(&stream, patience) {
        return " closes connections at once; it may have as many of this address as it takes \
                (`maxClientCnxns`)"
            .to_owned();
    }
    let Some(config) = tls else {
        return format!(" {}", look_in_plain(stream));
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let config = config.as_ref();
    match config.and_then(|config| handshake::broken_rule(stream, host, config)) {
        Some(rule) => format!(": {rule}"),
        None => " takes connections but opens no session; it may have no quorum, speak no TLS on \
                 this port, or one side does not take the other's certificate"
            .to_owned(),
    }
}

/// Whether nothing on the connection lasts longer from now on.
fn bound(stream: &TcpStream, limit: Duration) -> bool {
    let read = stream.set_read_timeout(Some(limit));
    read.and_then(|()| stream.set_write_timeout(Some(limit)))
        .is_ok()
}

/// A server that takes no more connections closes a new one before anything is said.
fn stays_open(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Asks for the server's state. One that speaks TLS on this port takes the question for noise: it
/// hangs up, or sends an alert before.
fn look_in_plain(mut stream: TcpStream) -> &'static str {
    let wants_tls = "does not take plain connections; it may speak TLS on this port: write https:// \
                     before its address, or set `tls=true`";
    let mut first = [0];
    // TLS is told from noise by five bytes; the server's words have four.
    match stream
        .write_all(b"srvr\n")
        .and_then(|()| stream.read(&mut first))
    {
        Ok(0) | Ok(1) if !first[0].is_ascii_graphic() => wants_tls,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            "takes connections but opens no session; it may have no quorum, or want TLS on this \
             port"
        }
        Err(_) => wants_tls,
        Ok(_) => "takes connections but opens no session; it may have no quorum",
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    async fn explain(addresses: &[String], material: Option<&Material>) -> String {
        Outlook::default().explain(addresses, material).await
    }

    #[tokio::test]
    async fn what_was_seen_is_told_again_until_it_is_forgotten() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let addresses = [listener.local_addr().expect("address").to_string()];
        drop(listener);
        let outlook = Outlook::default();
        let first = outlook.explain(&addresses, None).await;
        assert!(first.contains("refuses connections"), "{first}");
        let listener = TcpListener::bind(&*addresses[0]).expect("listener");
        assert_eq!(outlook.explain(&addresses, None).await, first);
        outlook.forget();
        assert_ne!(outlook.explain(&addresses, None).await, first);
        drop(listener);
    }

    #[tokio::test]
    async fn what_is_seen_from_outside_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = listener.local_addr().expect("address").to_string();
        let material = Material {
            ca: None,
            identity: None,
        };
        let silent = explain(std::slice::from_ref(&address), Some(&material)).await;
        assert!(silent.contains("certificate"), "{silent}");

        let closing = std::thread::spawn(move || {
            // The first is the one above.
            for _ in 0..2 {
                drop(listener.accept());
            }
        });
        let closed = explain(std::slice::from_ref(&address), None).await;
        assert!(closed.contains("maxClientCnxns"), "{closed}");
        closing.join().expect("listener");

        let refused = explain(&[address, "no.such.name.invalid:1".to_owned()], None).await;
        assert!(refused.contains("refuses connections"), "{refused}");
        assert!(refused.contains("no.such.name.invalid:1 is"), "{refused}");
    }

    #[tokio::test]
    async fn a_port_that_speaks_tls_is_known_by_what_it_does_to_a_question() {
        for alert in [&b""[..], &[0x15, 3, 3, 0, 2, 2, 10]] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
            let address = listener.local_addr().expect("address").to_string();
            let answering = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a caller");
                stream.read_exact(&mut [0; 5]).expect("a question");
                stream.write_all(alert).expect("an answer");
            });
            let found = explain(&[address], None).await;
            assert!(found.contains("https://"), "{found}");
            answering.join().expect("listener");
        }
    }

    #[tokio::test]
    async fn what_was_seen_is_not_looked_at_again_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = [listener.local_addr().expect("address").to_string()];
        let outlook = Outlook::default();
        let silent = outlook.explain(&address, None).await;
        drop(listener);
        assert_eq!(outlook.explain(&address, None).await, silent);
        let refused = explain(&address, None).await;
        assert!(refused.contains("refuses connections"), "{refused}");
    }
}
