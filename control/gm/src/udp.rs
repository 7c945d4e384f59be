//! The member's UDP sockets: the GDOI port that all groups share, and one for each multicast group that
//! rekeys come to. Control thread; never waits, and knows nothing of what is in a datagram.

use getvpn_config::interface;
use socket2::{Domain, Protocol, Socket, Type};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;
use tokio::net::UdpSocket;
use tracing::{info, warn};

/// Octets of the longest datagram.
const LONGEST: usize = 65_535;
/// Multicast groups that are joined at the most.
const MOST_GROUPS: usize = 64;
/// Octets that may wait: one large rekey each from many key servers.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A GDOI port that is taken and not yet read.
#[derive(Debug)]
pub struct GdoiPort(std::net::UdpSocket);

impl GdoiPort {
    /// Takes the port; one on an address that this machine does not have only if that `comes_later`.
    ///
    /// # Errors
    /// When it is in use, or not for this user.
    pub fn bind(listen: SocketAddr, comes_later: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
        if listen.is_ipv6() && listen.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        // A smaller one works too.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.set_nonblocking(true)?;
        match listen {
            SocketAddr::V4(_) => socket.set_freebind_v4(comes_later)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(comes_later)?,
        }
        socket.bind(&listen.into())?;
        Ok(Self(socket.into()))
    }
}

/// The sockets.
pub struct Sockets {
    port: UdpSocket,
    /// IPv4 peers are written as IPv6 ones.
    mapped: bool,
    interface: Option<IpAddr>,
    groups: Vec<(SocketAddr, UdpSocket)>,
    /// Which of them is read next.
    next: usize,
    buffer: Box<[u8]>,
}

impl Sockets {
    /// Opens the port for reading. Multicast groups are joined on the interface with this address, or, if
    /// none is given, on the one that the port is bound to or that routes say. Called within a runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn new(port: GdoiPort, interface: Option<IpAddr>) -> io::Result<Self> {
        let port = UdpSocket::from_std(port.0)?;
        let local = port.local_addr()?;
        let interface = interface.or_else(|| Some(local.ip()).filter(|ip| !ip.is_unspecified()));
        Ok(Self {
            mapped: local.is_ipv6(),
            port,
            interface,
            groups: Vec::new(),
            next: 0,
            buffer: vec![0; LONGEST].into(),
        })
    }

    /// Waits until there may be something to [`receive`](Self::receive).
    pub async fn readable(&self) {
        poll_fn(|context| {
            let mut any = false;
            for socket in self.all() {
                // All of them, so that each wakes this task.
                any |= socket.poll_recv_ready(context).is_ready();
            }
            if any { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// A datagram that is there, and where it came from.
    pub fn receive(&mut self) -> Option<(SocketAddr, &[u8])> {
        let count = 1 + self.groups.len();
        for _ in 0..count {
            let at = self.next % count;
            self.next = at + 1;
            let socket = at.checked_sub(1).map_or(&self.port, |group| &self.groups[group].1);
            match socket.try_recv_from(&mut self.buffer) {
                Ok((length, from)) => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    return Some((from, self.buffer.get(..length)?));
                }
                // Also what ICMP says of an earlier datagram, which anybody can send.
                Err(_) => continue,
            }
        }
        None
    }

    /// Sends a datagram, or loses it, as any network may: whoever needs an answer sends again.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let to = match to {
            SocketAddr::V4(v4) if self.mapped => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            other => other,
        };
        if let Err(why) = self.port.try_send_to(datagram, to)
            && why.kind() != ErrorKind::WouldBlock
        {
            tracing::debug!(event = "not_sent", %to, %why, "a datagram to {to} was not sent: {why}");
        }
    }

    /// Listens to these multicast groups and to no others.
    pub fn follow(&mut self, groups: &[SocketAddr]) {
        self.groups.retain(|(group, _)| {
            let stays = groups.contains(group);
            if !stays {
                info!(event = "multicast_left", %group, "rekeys come to {group} no more");
            }
            stays
        });
        for &group in groups.iter().take(MOST_GROUPS) {
            if self.groups.iter().any(|(known, _)| *known == group) {
                continue;
            }
            match join(group, self.interface).and_then(UdpSocket::from_std) {
                Ok(socket) => {
                    info!(event = "multicast_joined", %group, "rekeys come to {group}");
                    self.groups.push((group, socket));
                }
                Err(why) => warn!(event = "multicast_failed", %group, %why,
                    "{group} cannot be joined, so no rekey comes from there: {why}; check [control] \
                     multicast_interface"),
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &UdpSocket> {
        std::iter::once(&self.port).chain(self.groups.iter().map(|(_, socket)| socket))
    }
}

/// A socket for one multicast group. Several members of a machine may have one each.
fn join(group: SocketAddr, interface: Option<IpAddr>) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    // To the group's own address: nothing else arrives here.
    socket.bind(&group.into())?;
    match group.ip() {
        IpAddr::V4(address) => {
            let interface = match interface {
                Some(IpAddr::V4(interface)) => interface,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4(&address, &interface)?;
        }
        IpAddr::V6(address) => {
            let index = match interface {
                Some(IpAddr::V6(interface)) => interface::of_address(interface)?,
                _ => 0,
            };
            socket.join_multicast_v6(&address, index)?;
        }
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_group_is_heard_once_it_is_followed_and_not_afterwards() {
        let group: SocketAddr = "239.255.71.3:18481".parse().unwrap();
        let port = GdoiPort::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let mut sockets = Sockets::new(port, None).unwrap();
        let sender = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
        sender.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let sender: std::net::UdpSocket = sender.into();
        sockets.follow(&[group]);
        sender.send_to(b"rekey", group).unwrap();
        tokio::time::timeout(Duration::from_secs(5), sockets.readable()).await.unwrap();
        let (from, datagram) = sockets.receive().unwrap();
        assert_eq!((from, datagram), (sender.local_addr().unwrap(), &b"rekey"[..]));
        sockets.follow(&[]);
        sender.send_to(b"rekey", group).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), sockets.readable()).await.is_err());
    }

    #[tokio::test]
    async fn a_port_of_both_families_speaks_to_either_and_names_ipv4_peers_as_such() {
        let Ok(port) = GdoiPort::bind("[::]:0".parse().unwrap(), false) else { return };
        let here = port.0.local_addr().unwrap().port();
        let mut sockets = Sockets::new(port, None).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        peer.send_to(b"hello", ("127.0.0.1", here)).await.unwrap();
        sockets.readable().await;
        let (from, datagram) = sockets.receive().unwrap();
        assert_eq!((from, datagram), (peer.local_addr().unwrap(), &b"hello"[..]));
        sockets.send(from, b"welcome");
        let mut buffer = [0; 16];
        assert_eq!(peer.recv(&mut buffer).await.unwrap(), 7);
    }
}
