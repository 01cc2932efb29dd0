//! Typed calls to peers that share no code with this house: Python's HTTP server and grpcio.
//! `WAYPOST_PYTHON` names another interpreter than `python3`.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod house;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use house::House;
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};

fn python() -> String {
    std::env::var("WAYPOST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn can(program: &str) -> bool {
    let run = Command::new(python())
        .args(["-c", program])
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

/// A peer's process; it ends with the test.
struct Peer {
    process: Child,
    port: u16,
}

impl Peer {
    fn start(script: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/");
        let mut process = Command::new(python())
            .arg(format!("{folder}{script}"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("its port");
        Self { process, port }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn house(protocol: &str, peer: &Peer) -> House {
    let house = House::new().await;
    let address = ([127, 0, 0, 1], peer.port).into();
    house
        .announce("go.micro.greeter", "peer", Some(protocol), address)
        .await;
    house
}

async fn mucp() {
    let peer = Peer::start("mucp.py");
    let client = house("mucp", &peer).await.client();
    for name in ["Ann", "Bob"] {
        let ask = json!({ "name": name });
        let told: Value = client
            .call("go.micro.greeter", "Greeter.Hello", &ask)
            .await
            .expect("an answer");
        let text = format!("Hello {name}");
        assert_eq!(told, json!({ "text": text, "service": "go.micro.greeter" }));
    }
    let error = client
        .call::<_, Value>("go.micro.greeter", "Nobody.Home", &json!({}))
        .await
        .expect_err("no such endpoint");
    assert_eq!(
        (error.code(), error.id()),
        (404, "go.micro.server"),
        "{error}"
    );
}

async fn grpc() {
    let peer = Peer::start("grpc_node.py");
    let client = house("grpc", &peer).await.client();
    let ask = json!({ "name": "Ann" });
    let told: Value = client
        .call("go.micro.greeter", "Greeter.Hello", &ask)
        .await
        .expect("an answer");
    assert_eq!(told, json!({ "text": "Hello Ann", "deadline": true }));
    let error = client
        .call::<_, Value>("go.micro.greeter", "Greeter.Fail", &ask)
        .await
        .expect_err("its error");
    assert_eq!(
        (error.code(), error.detail()),
        (409, "it's taken, 100 %"),
        "{error}"
    );
    let mut stream = client
        .stream("go.micro.greeter", "Greeter.Echo")
        .await
        .expect("opened");
    for number in 0..50 {
        stream.send(&number).await.expect("sent");
        assert_eq!(stream.recv::<u32>().await.expect("received"), Some(number));
    }
    let mut rest = stream.close();
    assert_eq!(rest.recv::<u32>().await.expect("the end"), None);
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

fn main() {
    let arguments = Arguments::from_args();
    let trial = |name: &str, needs: &str, test: fn()| {
        let runs = can(&format!("import {needs}"));
        let name = if runs {
            name.to_owned()
        } else {
            format!("{name} (needs python3 with {needs})")
        };
        let trial = Trial::test(name, move || {
            test();
            Ok(())
        });
        trial.with_ignored_flag(!runs)
    };
    let trials = vec![
        trial(
            "a_python_http_server_is_called_as_a_go_micro_node",
            "http.server",
            || run(mucp()),
        ),
        trial(
            "a_grpcio_server_is_called_and_streamed_with",
            "grpc",
            || run(grpc()),
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
