//! What a server in a container can go through. Shown as ignored where there is no Docker.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use waypost_testkit::containers::{
    CONSUL_CLUSTER, Cluster, ETCD, ETCD_CLUSTER, Server, ZOOKEEPER_CLUSTER,
};
use waypost_testkit::{Kept, Missing, keep, laws};

laws! {
    a_killed_server_comes_back_on_its_port_with_its_data,
    a_wiped_server_comes_back_on_its_port_without_data,
    a_paused_server_accepts_and_does_not_answer,
    a_disconnected_server_is_there_again_when_connected,
    a_dropped_server_is_gone,
    a_cluster_without_its_leader_finds_another,
    a_member_without_its_peers_is_reached_by_clients,
    a_dropped_cluster_leaves_nothing,
    a_command_tells_its_output_and_its_code,
    the_servers_end_with_their_standard_input,
    a_killed_process_leaves_no_container,
    without_an_image_the_remedy_is_named,
    without_docker_the_remedy_is_named,
}

fn main() -> ExitCode {
    keep(&[LAWS])
}

fn expect(condition: bool, text: impl Into<String>) -> Kept {
    if condition {
        Ok(())
    } else {
        Err(text.into().into())
    }
}

async fn put(server: &Server) -> Kept {
    let output = server.exec(&["etcdctl", "put", "k", "v"]).await?;
    expect(output.code == Some(0), format!("{output:?}"))
}

async fn get(server: &Server) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(server
        .exec(&["etcdctl", "get", "k", "--print-value-only"])
        .await?
        .stdout
        .trim()
        .to_owned())
}

async fn a_killed_server_comes_back_on_its_port_with_its_data() -> Kept {
    let server = Server::start(&ETCD).await?;
    let address = server.address();
    put(&server).await?;
    server.kill().await?;
    expect(
        TcpStream::connect(&address).await.is_err(),
        "a killed server is still reached",
    )?;
    server.revive().await?;
    expect(server.address() == address, "the port has changed")?;
    expect(get(&server).await? == "v", "the data is gone")?;
    server.stop().await?;
    server.revive().await?;
    expect(get(&server).await? == "v", "the data is gone after a stop")
}

async fn a_wiped_server_comes_back_on_its_port_without_data() -> Kept {
    let mut server = Server::start(&ETCD).await?;
    let address = server.address();
    put(&server).await?;
    server.wipe().await?;
    expect(server.address() == address, "the port has changed")?;
    expect(get(&server).await?.is_empty(), "the data is still there")
}

async fn a_paused_server_accepts_and_does_not_answer() -> Kept {
    let server = Server::start(&ETCD).await?;
    server.pause().await?;
    let mut stream = TcpStream::connect(server.address()).await?;
    let silent = timeout(Duration::from_millis(300), stream.read(&mut [0]))
        .await
        .is_err();
    expect(silent, "a paused server answered or closed")?;
    server.unpause().await?;
    server.ready().await?;
    put(&server).await
}

async fn a_disconnected_server_is_there_again_when_connected() -> Kept {
    let server = Server::start(&ETCD).await?;
    put(&server).await?;
    server.disconnect().await?;
    let gone = timeout(Duration::from_secs(1), server.ready())
        .await
        .is_err();
    expect(gone, "a disconnected server still serves")?;
    server.connect().await?;
    server.ready().await?;
    expect(get(&server).await? == "v", "the data is gone")
}

async fn a_command_tells_its_output_and_its_code() -> Kept {
    let server = Server::start_with(
        &ETCD,
        &[
            "--log-level=warn",
            "--listen-client-urls=http://0.0.0.0:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
        ],
    )
    .await?;
    let output = server
        .exec(&["sh", "-c", "echo out; echo err >&2; exit 3"])
        .await?;
    let seen = (output.code, output.stdout.trim(), output.stderr.trim());
    expect(seen == (Some(3), "out", "err"), format!("{output:?}"))?;
    expect(
        !server.logs().await?.contains("\"level\":\"info\""),
        "the arguments did not arrive",
    )
}

async fn exists(id: &str) -> bool {
    let mut inspect = Command::new("docker");
    inspect
        .args(["inspect", id])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    inspect.status().await.is_ok_and(|status| status.success())
}

async fn is_removed(id: &str) -> Kept {
    for _ in 0..200 {
        if !exists(id).await {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("{id} is still there").into())
}

async fn a_dropped_server_is_gone() -> Kept {
    let server = Server::start(&ETCD).await?;
    let id = server.id().to_owned();
    expect(exists(&id).await, "a running container is not found")?;
    drop(server);
    is_removed(&id).await
}

async fn a_cluster_without_its_leader_finds_another() -> Kept {
    for ensemble in [ETCD_CLUSTER, CONSUL_CLUSTER, ZOOKEEPER_CLUSTER] {
        let name = ensemble.recipe.name;
        let cluster = Cluster::start(&ensemble).await?;
        let first = cluster.leader().await?;
        cluster.members()[first].pause().await?;
        let second = cluster.leader().await?;
        expect(first != second, format!("{name}: a frozen member leads"))?;
        cluster.members()[first].unpause().await?;
        cluster.members()[second].kill().await?;
        let third = cluster.leader().await?;
        expect(second != third, format!("{name}: a dead member leads"))?;
        cluster.members()[second].revive().await?;
    }
    Ok(())
}

async fn a_member_without_its_peers_is_reached_by_clients() -> Kept {
    let cluster = Cluster::start(&ETCD_CLUSTER).await?;
    // Where packets cannot be dropped there is nothing to be seen.
    cluster.mend().await.map_err(Missing::from)?;
    let leader = cluster.leader().await?;
    let lost = &cluster.members()[leader];
    let client = TcpStream::connect(lost.address()).await?;
    let connections = cluster.connections(leader).await?;
    expect(
        connections == 1,
        format!("{connections} connections, not 1"),
    )?;
    cluster.isolate(leader).await?;
    let alone = lost
        .exec(&["etcdctl", "--command-timeout=3s", "put", "k", "v"])
        .await?;
    expect(alone.code != Some(0), format!("it writes alone: {alone:?}"))?;
    let stale = lost
        .exec(&["etcdctl", "get", "k", "--consistency=s"])
        .await?;
    expect(
        stale.code == Some(0),
        format!("it answers nobody: {stale:?}"),
    )?;
    put(&cluster.members()[(leader + 1) % 3]).await?;
    cluster.mend().await?;
    lost.ready().await?;
    drop(client);
    expect(get(lost).await? == "v", "it has not caught up")
}

async fn a_dropped_cluster_leaves_nothing() -> Kept {
    let cluster = Cluster::start(&ETCD_CLUSTER).await?;
    let ids: Vec<String> = cluster
        .members()
        .iter()
        .map(|member| member.id().to_owned())
        .collect();
    let network = Command::new("docker")
        .args([
            "inspect",
            "--format",
            "{{.HostConfig.NetworkMode}}",
            &ids[0],
        ])
        .output()
        .await?;
    let network = String::from_utf8(network.stdout)?.trim().to_owned();
    expect(exists(&network).await, format!("no network {network:?}"))?;
    // A frozen one goes as well.
    cluster.members()[1].pause().await?;
    drop(cluster);
    for id in ids {
        is_removed(&id).await?;
    }
    is_removed(&network).await
}

/// The `servers` program, up to `ready`; tells the address that it printed.
async fn program(
    variables: &[(&str, &str)],
) -> Result<(Child, Option<String>), Box<dyn std::error::Error + Send + Sync>> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_servers"))
        .envs(variables.iter().copied())
        .env_remove("WAYPOST_TEST_ETCD")
        .env_remove("WAYPOST_REQUIRE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let mut address = None;
    while let Some(line) = lines.next_line().await? {
        if line == "ready" {
            return Ok((child, address));
        }
        if let Some(told) = line.strip_prefix("WAYPOST_TEST_ETCD=") {
            address = Some(told.to_owned());
        }
    }
    Err("the program ended before it was ready".into())
}

/// The container that publishes this address.
async fn container_at(address: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let port = address.rsplit_once(':').ok_or("no port")?.1;
    let filter = format!("publish={port}");
    let output = Command::new("docker")
        .args(["ps", "--quiet", "--no-trunc", "--filter", &filter])
        .output()
        .await?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

async fn started() -> Result<(Child, String), Box<dyn std::error::Error + Send + Sync>> {
    let (child, address) = program(&[]).await?;
    let Some(address) = address else {
        let complaint = complaint(child).await?;
        expect(
            complaint.contains("no etcd: "),
            "there is no etcd, and no reason why",
        )?;
        return Err(Box::new(Missing::new(complaint)));
    };
    Ok((child, address))
}

async fn complaint(mut child: Child) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    drop(child.stdin.take());
    let mut text = String::new();
    child
        .stderr
        .take()
        .ok_or("no stderr")?
        .read_to_string(&mut text)
        .await?;
    Ok(text.trim().to_owned())
}

async fn the_servers_end_with_their_standard_input() -> Kept {
    let (mut child, address) = started().await?;
    TcpStream::connect(&address).await?;
    let id = container_at(&address).await?;
    drop(child.stdin.take());
    expect(child.wait().await?.success(), "the program failed")?;
    expect(
        !id.is_empty() && !exists(&id).await,
        format!("container {id:?} is still there"),
    )
}

async fn a_killed_process_leaves_no_container() -> Kept {
    let (mut child, address) = started().await?;
    let id = container_at(&address).await?;
    expect(!id.is_empty(), format!("no container publishes {address}"))?;
    child.kill().await?;
    is_removed(&id).await
}

async fn without_an_image_the_remedy_is_named() -> Kept {
    let _docker = Server::start(&ETCD).await?;
    let (child, address) = program(&[("WAYPOST_IMAGE_ETCD", "nowhere.invalid:5000/none")]).await?;
    expect(address.is_none(), format!("{address:?}"))?;
    let text = complaint(child).await?;
    expect(text.contains("docker/images.sh etcd"), text)
}

async fn without_docker_the_remedy_is_named() -> Kept {
    let (child, address) = program(&[("DOCKER_HOST", "unix:///nonexistent")]).await?;
    expect(address.is_none(), format!("{address:?}"))?;
    let text = complaint(child).await?;
    expect(
        text.contains("docker cannot be reached") && text.contains("DOCKER_HOST"),
        text,
    )
}
