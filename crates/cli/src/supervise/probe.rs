//! Asking a program how it is.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Most bytes read of an answer: the status line is all that counts.
const HEAD: usize = 1024;

/// Where a program tells its health, as it was typed: `http://host:port/path`, or a path on the
/// program's own port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// `None` for the program's own.
    authority: Option<String>,
    path: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err("has a space or a control character".to_owned());
        }
        if text.starts_with('/') {
            return Ok(Self {
                authority: None,
                path: text.to_owned(),
            });
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err("is neither http://host:port/path nor /path".to_owned());
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = match waypost::Address::new(authority) {
            Ok(address) => address.to_string(),
            Err(_) => waypost::Address::new(&format!("{authority}:80"))
                .map_err(|error| error.to_string())?
                .to_string(),
        };
        Ok(Self {
            authority: Some(authority),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }
}

/// Asks one program, again and again.
#[derive(Debug)]
pub(crate) struct Probe {
    address: String,
    health: Option<(String, String)>,
    limit: Duration,
}

impl Probe {
    /// Of the program that listens on `address`: by its port, and by `health` where it has one.
    pub(crate) fn new(address: String, health: Option<Url>, limit: Duration) -> Self {
        let health = health.map(|url| {
            let authority = url.authority.unwrap_or_else(|| address.clone());
            (authority, url.path)
        });
        Self {
            address,
            health,
            limit,
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// Why the answer is not good, as half a sentence.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        let asking = async {
            let asked_apart = |(authority, _): &(String, String)| *authority != self.address;
            if self.health.as_ref().is_none_or(asked_apart) {
                TcpStream::connect(&self.address)
                    .await
                    .map_err(|error| format!("{} does not accept: {error}", self.address))?;
            }
            match &self.health {
                None => Ok(()),
                Some((authority, path)) => get(authority, path).await,
            }
        };
        timeout(self.limit, asking)
            .await
            .unwrap_or_else(|_| Err(format!("gave no answer within {:?}", self.limit)))
    }
}

/// A GET whose answer is its status alone.
async fn get(authority: &str, path: &str) -> Result<(), String> {
    let status = status(authority, path)
        .await
        .map_err(|error| format!("http://{authority}{path} failed: {error}"))?;
    match status {
        200..=299 => Ok(()),
        status => Err(format!("http://{authority}{path} answers {status}")),
    }
}

async fn status(authority: &str, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: waypost\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(HEAD);
    while head.len() < HEAD && !head.contains(&b'\n') {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    parse_status(&head).ok_or_else(|| io::Error::other("the answer is no HTTP"))
}

/// The status of `HTTP/1.1 200 OK`.
fn parse_status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.trim_end().split(' ');
    words.next().filter(|word| word.starts_with("HTTP/1."))?;
    let status = words.next().filter(|word| word.len() == 3)?;
    status.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_http_or_a_path() {
        let url = |text: &str| text.parse::<Url>();
        let full = url("http://127.0.0.1:80/health?x=1").expect("full");
        assert_eq!(full.authority.as_deref(), Some("127.0.0.1:80"));
        assert_eq!(full.path, "/health?x=1");
        let bare = url("http://orders").expect("bare");
        assert_eq!(bare.authority.as_deref(), Some("orders:80"));
        assert_eq!(bare.path, "/");
        assert_eq!(url("/health").expect("path").authority, None);
        for bad in [
            "",
            "https://a:1/",
            "a:1",
            "http://",
            "http://a:0/",
            "/a\r\nb",
            "http://a b/",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_status_line_is_an_answer() {
        assert_eq!(parse_status(b"HTTP/1.1 204 No Content\r\nX: y"), Some(204));
        assert_eq!(parse_status(b"HTTP/1.0 500\n"), Some(500));
        for bad in [
            &b""[..],
            b"SSH-2.0 200 x",
            b"HTTP/1.1",
            b"HTTP/1.1 2000 x",
            b"HTTP/1.1 \xff",
        ] {
            assert_eq!(parse_status(bad), None);
        }
    }

    async fn answering(answer: &'static [u8]) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 256];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn only_two_hundreds_are_healthy() {
        for (answer, healthy) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], true),
            (b"HTTP/1.1 204 No Content\r\n\r\n", true),
            (b"HTTP/1.1 302 Found\r\n\r\n", false),
            (b"HTTP/1.1 503 Unavailable\r\n\r\n", false),
            (b"nonsense\n", false),
            (b"", false),
        ] {
            let address = answering(answer).await;
            let url = "/health".parse().expect("url");
            let probe = Probe::new(address, Some(url), Duration::from_secs(5));
            assert_eq!(probe.ask().await.is_ok(), healthy, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_program_that_accepts_and_says_nothing_fails() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let limit = Duration::from_millis(50);
        let silent = Probe::new(address.clone(), Some("/".parse().expect("url")), limit);
        let fault = silent.ask().await.expect_err("silent");
        assert_eq!(fault, "gave no answer within 50ms");
        let by_port = Probe::new(address.clone(), None, Duration::from_secs(5));
        assert_eq!(by_port.ask().await, Ok(()));
        drop(listener);
        assert!(by_port.ask().await.is_err());
    }
}
