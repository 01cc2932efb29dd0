//! Why no session could be opened: the client says only that it could not.

use std::io::{ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long one address may take to answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// What can be seen of the servers from outside, as the end of a sentence.
///
/// # Cancel safety
/// Safe; a thread may look a moment longer.
pub(crate) async fn explain(addresses: &[String], tls: bool) -> String {
    let addresses: Vec<String> = addresses.iter().take(3).cloned().collect();
    let looked = tokio::task::spawn_blocking(move || {
        let all = addresses
            .iter()
            .map(|address| format!("{address} {}", look(address, tls)));
        all.collect::<Vec<_>>().join(", ")
    });
    looked.await.unwrap_or_default()
}

fn look(address: &str, tls: bool) -> &'static str {
    let found = match address.to_socket_addrs() {
        Ok(mut found) => found.next(),
        Err(_) => return "is no known name",
    };
    let Some(found) = found else {
        return "is a name without an address";
    };
    let mut stream = match TcpStream::connect_timeout(&found, PATIENCE) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            return "refuses connections";
        }
        Err(_) => return "does not answer",
    };
    let closed = "closes connections at once; it may have as many of this address as it takes \
                  (`maxClientCnxns`)";
    if stream.set_read_timeout(Some(PATIENCE)).is_err() {
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
}
