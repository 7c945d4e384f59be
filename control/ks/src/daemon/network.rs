//! The UDP sockets. Each address that the server listens on has one, so that an answer leaves from the
//! address that was asked. Tokio tasks; a datagram goes to the shard that its sender's address names, so
//! that all of a member's messages meet in one place.

use super::store::Sending;
use crate::config::Config;
use getvpn_config::interface;
use getvpn_gdoi::crypto::SystemRandom;
use rustix::net::sockopt;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// No message of these protocols is longer than a UDP payload can be.
const LONGEST: usize = 65_535;
/// What the kernel is asked to keep while the shards are busy: thousands of members at one moment.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// Datagrams that may wait for a shard.
const WAITING: usize = 8_192;
/// How far multicast rekeys go.
const MULTICAST_TTL: u32 = 64;

/// A datagram with where it came to and from.
pub(super) struct Datagram {
    pub local: SocketAddr,
    pub from: SocketAddr,
    pub octets: Vec<u8>,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The system does not let it.
    #[error("listen {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
}

/// The sockets.
pub(super) struct Network {
    sockets: Sockets,
    /// What the configuration says, and what became of it where it leaves the port to the system.
    listen: HashMap<SocketAddr, SocketAddr>,
    shards: Vec<(mpsc::Sender<Datagram>, Option<mpsc::Receiver<Datagram>>)>,
    /// Datagrams for which no shard had room.
    pub lost: Arc<AtomicU64>,
}

/// The sockets by their addresses.
pub(super) type Sockets = Arc<HashMap<SocketAddr, Arc<UdpSocket>>>;

impl Network {
    /// Opens the sockets. Ports that the configuration leaves to the system are filled in there.
    pub fn bind(config: &mut Config, shards: usize) -> Result<Self, NetworkError> {
        let mut sockets = HashMap::new();
        let mut listen = HashMap::new();
        for address in &mut config.server.listen {
            let socket = bind(*address).map_err(|e| NetworkError::Bind(*address, e))?;
            let bound = socket.local_addr().map_err(|e| NetworkError::Bind(*address, e))?;
            listen.insert(*address, bound);
            *address = bound;
            sockets.insert(bound, Arc::new(socket));
        }
        for group in &mut config.groups {
            group.rekey.source = bound(&listen, group.rekey.source);
        }
        let shards = (0..shards).map(|_| {
            let (sender, receiver) = mpsc::channel(WAITING);
            (sender, Some(receiver))
        });
        let shards = shards.collect();
        Ok(Self { sockets: Arc::new(sockets), listen, shards, lost: Arc::default() })
    }

    /// What the configuration says, and what it stands for.
    pub fn listen(&self) -> &HashMap<SocketAddr, SocketAddr> {
        &self.listen
    }

    /// Where the server listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.keys().copied().collect()
    }

    pub fn sockets(&self) -> Sockets {
        Arc::clone(&self.sockets)
    }

    /// What arrives for a shard; once.
    pub fn arrivals(&mut self, shard: usize) -> Option<mpsc::Receiver<Datagram>> {
        self.shards.get_mut(shard)?.1.take()
    }

    /// Begins to read.
    pub fn start_readers(&self, runtime: &Runtime) {
        let shards: Vec<_> = self.shards.iter().map(|(sender, _)| sender.clone()).collect();
        for (&local, socket) in &*self.sockets {
            let reader = read(Arc::clone(socket), local, shards.clone(), Arc::clone(&self.lost));
            runtime.spawn(reader);
        }
    }

    /// Begins to send rekeys.
    pub fn start_sender(&self, runtime: &Runtime) -> mpsc::UnboundedSender<Sending> {
        let (sender, mut waiting) = mpsc::unbounded_channel::<Sending>();
        let sockets = self.sockets();
        runtime.spawn(async move {
            while let Some(Sending { from, to, push }) = waiting.recv().await {
                match push.datagram(&mut SystemRandom) {
                    Ok(datagram) => send(&sockets, from, to, &datagram).await,
                    Err(error) => {
                        warn!(event = "push_failed", kek = %push.kek.spi, %error, "a rekey cannot be made: {error}");
                    }
                }
            }
        });
        sender
    }
}

/// The address that stands for a configured one.
pub(super) fn bound(listen: &HashMap<SocketAddr, SocketAddr>, address: SocketAddr) -> SocketAddr {
    listen.get(&address).copied().unwrap_or(address)
}

fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    // With CAP_NET_ADMIN all of it, otherwise as much as the system allows: /proc/sys/net/core/rmem_max.
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    }
    // IPv4 multicast leaves by the interface that has the source address; IPv6 wants to be told which.
    match address.ip() {
        IpAddr::V4(_) => socket.set_multicast_ttl_v4(MULTICAST_TTL)?,
        IpAddr::V6(ip) => {
            let socket = socket2::SockRef::from(&socket);
            socket.set_multicast_hops_v6(MULTICAST_TTL)?;
            if let Ok(interface) = interface::of_address(ip) {
                socket.set_multicast_if_v6(interface)?;
            }
        }
    }
    UdpSocket::from_std(socket)
}

async fn read(
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    shards: Vec<mpsc::Sender<Datagram>>,
    lost: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let (len, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error about what was sent, or a moment without memory.
                debug!(event = "receive_failed", %local, %error, "receiving at {local} failed: {error}");
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        let datagram = Datagram { local, from, octets: buffer[..len].to_vec() };
        let shard = shard_of(from.ip(), shards.len());
        if shards.get(shard).is_none_or(|shard| shard.try_send(datagram).is_err()) {
            lost.fetch_add(1, Relaxed);
        }
    }
}

fn shard_of(address: IpAddr, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    let shards = u64::try_from(shards.max(1)).unwrap_or(1);
    usize::try_from(hasher.finish() % shards).unwrap_or(0)
}

/// Sends a datagram. That it cannot be sent is as if it were lost on its way.
pub(super) async fn send(sockets: &Sockets, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
    let Some(socket) = sockets.get(&from) else {
        debug!(event = "send_failed", %from, %to, "this server does not listen on {from} any longer");
        return;
    };
    if let Err(error) = socket.send_to(datagram, to).await {
        debug!(event = "send_failed", %from, %to, %error, "sending to {to} failed: {error}");
    }
}
