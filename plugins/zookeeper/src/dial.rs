//! Asks for a session, and tells the server whose it is.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use zookeeper_client::{Client, Connector, Error as Told};

use crate::config::Config;
use crate::leash::{Holder, Leash};

/// A session, and what its task is held by.
pub(crate) type Dialled = (Client, Arc<Leash>);

/// How a user is told.
const SCHEME: &str = "digest";

/// Asks for a session of about `timeout`, and tells the user along with that: a server may be set up
/// to serve nobody who has not said who it is.
///
/// A server on Netty, thus any that speaks TLS, now and then answers the user before the session (one
/// time in a thousand, ZooKeeper 3.9.3). The client takes this for the session's answer, and gives the
/// connection up. So where the servers were not silent they are asked once more, and told the
/// user when the session stands.
///
/// # Cancel safety
/// A dropped future leaves at most a session that the server ends.
pub(crate) async fn dial(config: &Config, timeout: Duration) -> Result<Dialled, Told> {
    let begun = Instant::now();
    let Some(identity) = config.identity() else {
        return ask(config, config.connector(timeout)).await;
    };
    let connector = config.connector(timeout).with_auth(SCHEME, &identity);
    let asked = ask(config, connector).await;
    if !matches!(asked, Err(Told::NoHosts)) || begun.elapsed() >= config.timeout {
        return asked;
    }
    let Ok((client, leash)) = ask(config, config.connector(timeout)).await else {
        return asked;
    };
    client.auth(SCHEME, &identity).await?;
    Ok((client, leash))
}

async fn ask(config: &Config, connector: Connector) -> Result<Dialled, Told> {
    let holder = Holder(Arc::default());
    let cluster = config.cluster();
    let mut asking = pin!(async {
        match config.speaks_tls() {
            true => connector.secure_connect(&cluster).await,
            false => connector.connect(&cluster).await,
        }
    });
    let client = poll_fn(|context| {
        let _scope = holder.enter();
        asking.as_mut().poll(context)
    })
    .await?;
    let Holder(leash) = holder;
    leash.fasten(client.session_timeout(), config.timeout);
    Ok((client, leash))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread::{self, JoinHandle};

    use waypost_core::{Origin, Target};

    use super::*;

    const SESSION: Duration = Duration::from_secs(10);

    /// The answer to a request that has no body: its number, no transaction, no fault.
    fn answer(request: &[u8]) -> Vec<u8> {
        let number = request.first_chunk::<4>().expect("a number");
        [&number[..], &[0; 12]].concat()
    }

    /// A session: protocol, timeout, id, password, and whether it only reads.
    fn granted() -> Vec<u8> {
        let mut granted = Vec::from([0; 4]);
        granted.extend(10_000i32.to_be_bytes());
        granted.extend(7i64.to_be_bytes());
        granted.extend(16i32.to_be_bytes());
        granted.extend([9; 16]);
        granted.push(0);
        granted
    }

    fn read(stream: &mut TcpStream) -> Vec<u8> {
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("a length");
        let length = usize::try_from(i32::from_be_bytes(length)).expect("a length");
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).expect("a frame");
        frame
    }

    fn write(stream: &mut TcpStream, frame: &[u8]) {
        let length = i32::try_from(frame.len()).expect("a length").to_be_bytes();
        let both = [&length, frame].concat();
        stream.write_all(&both).expect("the other side reads");
    }

    fn says_who(frame: &[u8]) -> bool {
        String::from_utf8_lossy(frame).contains("ann:S3CR3T")
    }

    /// A server of the test, and the address to reach it.
    fn serve(rule: impl FnOnce(TcpListener) + Send + 'static) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let address = listener.local_addr().expect("address").to_string();
        (address, thread::spawn(move || rule(listener)))
    }

    fn config(url: &str) -> Config {
        Config::read(&Target::parse(url, None, Origin::Code).expect("target")).expect("config")
    }

    #[tokio::test]
    async fn a_user_that_is_answered_before_the_session_is_told_again_after_it() {
        let (address, server) = serve(|listener| {
            let (mut first, _) = listener.accept().expect("a caller");
            let (_, user) = (read(&mut first), read(&mut first));
            assert!(says_who(&user), "the user comes along with the request");
            write(&mut first, &answer(&user));
            write(&mut first, &granted());
            let (mut second, _) = listener.accept().expect("a caller");
            read(&mut second);
            write(&mut second, &granted());
            let ping = read(&mut second);
            assert!(!says_who(&ping));
            write(&mut second, &answer(&ping));
            let user = read(&mut second);
            assert!(says_who(&user), "the user comes once the session stands");
            write(&mut second, &answer(&user));
        });
        let config = config(&format!("zookeeper://ann:S3CR3T@{address}"));
        let (client, _) = dial(&config, SESSION).await.expect("a session");
        assert_eq!(client.session_timeout(), SESSION);
        server.join().expect("server");
    }

    /// How many connections a failed try makes to a server that closes them or says nothing.
    async fn dials(user: &str, closes: bool) -> usize {
        let (counted, count) = mpsc::channel();
        let (address, _) = serve(move |listener| {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                if counted.send(()).is_err() {
                    return;
                }
                if closes {
                    read(&mut stream);
                } else {
                    silent.push(stream);
                }
            }
        });
        let config = config(&format!("zookeeper://{user}{address}?timeout=300ms"));
        let told = dial(&config, SESSION)
            .await
            .map(|_| ())
            .expect_err("no session");
        assert_eq!(told, Told::NoHosts);
        count.try_iter().count()
    }

    #[tokio::test]
    async fn only_a_server_that_may_have_stumbled_over_the_user_is_asked_twice() {
        assert_eq!(dials("", true).await, 1, "there is no user");
        assert_eq!(dials("ann:S3CR3T@", true).await, 2);
        assert_eq!(dials("ann:S3CR3T@", false).await, 1, "it is silent");
    }
}
