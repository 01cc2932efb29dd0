//! Servers that answer wrongly: a small one whose answers are made for the law, and a real one that
//! is asked for what is not its own.

use std::future::ready;

use futures_util::StreamExt;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use waypost_core::{ErrorKind, Event, WatchScope};
use waypost_testkit::containers::dns_address;
use waypost_testkit::{Kept, laws};

use crate::support::{open, service};

laws! {
    a_wrong_answer_is_never_an_empty_one,
    a_foreign_domain_is_denied,
}

/// Answers each question with what `make` makes of it.
struct Liar {
    address: String,
    task: AbortHandle,
}

impl Liar {
    async fn start(make: fn(&[u8]) -> Vec<u8>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address").to_string();
        let answering = async move {
            let mut question = [0; 2048];
            while let Ok((length, client)) = socket.recv_from(&mut question).await {
                let _ = socket.send_to(&make(&question[..length]), client).await;
            }
        };
        let task = tokio::spawn(answering).abort_handle();
        Self { address, task }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The question itself as an answer with these flags, without what is beside it.
fn answer(question: &[u8], flags: [u8; 2]) -> Vec<u8> {
    let end = question[12..]
        .iter()
        .position(|byte| *byte == 0)
        .expect("a name")
        + 17;
    let mut answer = question[..end].to_vec();
    answer[2..4].copy_from_slice(&flags);
    answer[6..12].fill(0);
    answer
}

/// A referral to others: one NS record of the root.
fn referral(question: &[u8]) -> Vec<u8> {
    let mut answer = answer(question, [0x80, 0]);
    answer[9] = 1;
    answer.extend(b"\0\0\x02\0\x01\0\0\0\x3c\0\x04\x02ns\0");
    answer
}

async fn a_wrong_answer_is_never_an_empty_one() -> Kept {
    type Make = fn(&[u8]) -> Vec<u8>;
    let liars: [(Make, ErrorKind); 7] = [
        (
            |question| answer(question, [0x80, 2]),
            ErrorKind::Unavailable,
        ),
        (|question| answer(question, [0x80, 5]), ErrorKind::Denied),
        (
            |question| answer(question, [0x80, 4]),
            ErrorKind::Unsupported,
        ),
        (|question| answer(question, [0x80, 1]), ErrorKind::Corrupt),
        (referral, ErrorKind::Unavailable),
        // The right id, and then nothing that could be read.
        (
            |question| [&question[..2], &[0xff; 40]].concat(),
            ErrorKind::Corrupt,
        ),
        // Somebody else's id: as good as silence.
        (
            |question| [&[!question[0], 7], &answer(question, [0x80, 3])[2..]].concat(),
            ErrorKind::Timeout,
        ),
    ];
    for (number, (make, kind)) in liars.into_iter().enumerate() {
        let liar = Liar::start(make).await;
        let url = format!("dns://{}/example.org?port=80&timeout=400ms", liar.address);
        let registry = open(&url).await;
        let told = registry.lookup(&service("orders")).await;
        let error = told.expect_err("a wrong answer");
        assert_eq!(error.kind(), kind, "liar {number}: {error:?}");
        for scope in [WatchScope::All, service("orders").into()] {
            let mut watch = registry.watch(scope).await.expect("a watch");
            let first = watch.next().await.expect("an event");
            assert!(first.is_err(), "liar {number}: {first:?}");
        }
    }
    // Nothing at all, without any SOA record, is what small servers say when there is nothing.
    let liar = Liar::start(|question| answer(question, [0x80, 0])).await;
    let registry = open(&format!("dns://{}/example.org?port=80", liar.address)).await;
    let watch = registry
        .watch(service("orders").into())
        .await
        .expect("a watch");
    let snapshots = watch
        .take(1)
        .filter(|event| ready(matches!(event, Ok(Event::Snapshot(all)) if all.is_empty())));
    assert_eq!(snapshots.count().await, 1);
    Ok(())
}

async fn a_foreign_domain_is_denied() -> Kept {
    let address = dns_address().await?;
    let registry = open(&format!("dns://{address}/example.org")).await;
    let error = registry
        .lookup(&service("orders"))
        .await
        .expect_err("not its own");
    assert_eq!(error.kind(), ErrorKind::Denied);
    let text = format!("dns: lookup orders: name server {address} refuses to answer");
    assert!(error.to_string().starts_with(&text), "{error}");
    Ok(())
}
