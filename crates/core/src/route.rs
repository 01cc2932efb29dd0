//! Which of this machine's addresses leads to another one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

/// This machine's address on the way to `endpoint` (`host:port`), or `None` where no route leads
/// there or the host has no address.
///
/// Nothing is sent: connecting a datagram socket only asks the system for the route. So the answer
/// is the address of the interface that the packets would leave through, never that of some bridge.
/// Looking up a host's name blocks; call it where that is allowed.
///
/// ```
/// let local = waypost_core::route_to("127.0.0.1:2379").expect("loopback");
/// assert!(local.is_loopback());
/// assert_eq!(waypost_core::route_to("no port"), None);
/// ```
#[must_use]
pub fn route_to(endpoint: &str) -> Option<IpAddr> {
    endpoint.to_socket_addrs().ok()?.find_map(towards)
}

/// `host:port`, with the brackets that an IPv6 host needs.
///
/// ```
/// assert_eq!(waypost_core::host_port("::1", 80), "[::1]:80");
/// assert_eq!(waypost_core::host_port("[::1]", 80), "[::1]:80");
/// assert_eq!(waypost_core::host_port("localhost", 80), "localhost:80");
/// ```
#[must_use]
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn towards(remote: SocketAddr) -> Option<IpAddr> {
    let any = match remote {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    let local = socket.local_addr().ok()?.ip();
    (!local.is_unspecified()).then_some(local)
}
