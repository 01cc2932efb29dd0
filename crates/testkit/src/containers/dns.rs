//! A DNS server whose records tests change.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use waypost_core::{Error, Result};

use super::{Recipe, Server};
use crate::Missing;

/// Knot DNS, responsible for [`ZONE`], which anybody may update.
pub const DNS: Recipe = Recipe {
    name: "dns",
    image: "waypost/dns:3.4",
    image_variable: "WAYPOST_IMAGE_DNS",
    address_variable: "WAYPOST_TEST_DNS",
    port: 5353,
    datagrams: true,
    data: "",
    environment: &[],
    // The zone's SOA record, asked for over TCP.
    question: "\0\x1e\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07waypost\x04test\0\0\x06\0\x01",
    answer: "hostmaster",
};

/// The domain that [`DNS`] is responsible for. Below `fixed` there are records that no test changes;
/// see `docker/dns`.
pub const ZONE: &str = "waypost.test";

/// The `host:port` of a DNS server: what `WAYPOST_TEST_DNS` names, else a container that is started
/// once and serves all tests of this process.
///
/// # Errors
/// [`Missing`] with the reason when there is none and none can be started.
///
/// # Cancel safety
/// Safe: a start that was given up is started anew by the next caller.
pub async fn dns_address() -> Result<String, Missing> {
    static SHARED: OnceCell<Server> = OnceCell::const_new();
    DNS.shared(&SHARED).await
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types of DNS by their names")]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(String),
    Ptr(String),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
    Txt(Vec<Vec<u8>>),
}

/// A change of [`ZONE`]'s records in one step (RFC 2136). Names are complete, without the last dot.
#[derive(Debug, Clone)]
pub struct Update {
    bytes: Vec<u8>,
    changes: u16,
    /// Where names that were written stand.
    names: HashMap<String, u16>,
}

const ANY: u16 = 255;
const IN: u16 = 1;
const SOA: u16 = 6;

impl Default for Update {
    fn default() -> Self {
        Self::new()
    }
}

impl Update {
    /// A change of nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut update = Self {
            // An id, the operation, one zone; how many changes is written at the end.
            bytes: vec![0x12, 0x34, 0x28, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            changes: 0,
            names: HashMap::new(),
        };
        update.name(ZONE);
        update.numbers(&[SOA, IN]);
        update
    }

    /// Removes all records at `name`.
    pub fn remove(&mut self, name: &str) {
        self.changes += 1;
        self.name(name);
        self.numbers(&[ANY, ANY, 0, 0, 0]);
    }

    /// Adds a record.
    pub fn add(&mut self, name: &str, ttl: u16, data: &Data) {
        self.changes += 1;
        self.name(name);
        let kind = match data {
            Data::A(_) => 1,
            Data::Cname(_) => 5,
            Data::Ptr(_) => 12,
            Data::Txt(_) => 16,
            Data::Aaaa(_) => 28,
            Data::Srv { .. } => 33,
        };
        self.numbers(&[kind, IN, 0, ttl, 0]);
        let start = self.bytes.len();
        match data {
            Data::A(ip) => self.bytes.extend(ip.octets()),
            Data::Aaaa(ip) => self.bytes.extend(ip.octets()),
            Data::Cname(name) | Data::Ptr(name) => self.name(name),
            Data::Srv {
                priority,
                weight,
                port,
                target,
            } => {
                self.numbers(&[*priority, *weight, *port]);
                // The one kind of name here that may not be shortened.
                target
                    .split('.')
                    .for_each(|label| self.text(label.as_bytes()));
                self.bytes.push(0);
            }
            Data::Txt(texts) => texts.iter().for_each(|text| self.text(text)),
        }
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start - 2..start].copy_from_slice(&length.to_be_bytes());
    }

    /// How long the message is by now; 65535 bytes are the most.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Has the server at `address` make the change.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be reached or refuses.
    ///
    /// # Cancel safety
    /// The change may or may not be made.
    pub async fn send(mut self, address: &str) -> Result<()> {
        self.bytes[8..10].copy_from_slice(&self.changes.to_be_bytes());
        let fault = |text: String| Error::unavailable(text).with_operation("update", ZONE);
        let length = u16::try_from(self.bytes.len());
        let length = length.map_err(|_| fault("the change is too large for a message".into()))?;
        let exchange = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(&length.to_be_bytes()).await?;
            stream.write_all(&self.bytes).await?;
            let mut answer = [0; 14];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer[5] & 0xf)
        };
        match timeout(Duration::from_secs(20), exchange).await {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(code)) => Err(fault(format!("the server refuses with code {code}"))),
            Ok(Err(error)) => Err(fault("the server cannot be reached".into()).with_source(error)),
            Err(_) => Err(fault("the server does not answer".into())),
        }
    }

    fn numbers(&mut self, numbers: &[u16]) {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
        self.bytes.extend(bytes);
    }

    fn text(&mut self, text: &[u8]) {
        let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
        self.bytes.push(length);
        self.bytes.extend(&text[..usize::from(length)]);
    }

    fn name(&mut self, name: &str) {
        let mut rest = name;
        while !rest.is_empty() {
            if let Some(place) = self.names.get(rest) {
                return self.numbers(&[0xc000 | *place]);
            }
            if let Ok(place @ ..0x4000) = u16::try_from(self.bytes.len()) {
                self.names.insert(rest.to_owned(), place);
            }
            let (label, below) = rest.split_once('.').unwrap_or((rest, ""));
            self.text(label.as_bytes());
            rest = below;
        }
        self.bytes.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_what_the_standard_says() {
        let mut update = Update::new();
        update.remove("a.waypost.test");
        update.add("b.a.waypost.test", 7, &Data::A([10, 0, 0, 1].into()));
        update.add("waypost.test", 0, &Data::Ptr("b.a.waypost.test".to_owned()));
        let zone = b"\x07waypost\x04test\0\0\x06\0\x01";
        assert_eq!(update.bytes[12..30], *zone);
        let changes = [
            &b"\x01a\xc0\x0c\0\xff\0\xff\0\0\0\0\0\0"[..],
            b"\x01b\xc0\x1e\0\x01\0\x01\0\0\0\x07\0\x04\x0a\0\0\x01",
            b"\xc0\x0c\0\x0c\0\x01\0\0\0\0\0\x02\xc0\x2c",
        ];
        assert_eq!(update.bytes[30..], changes.concat());
        assert_eq!(update.changes, 3);
    }
}
