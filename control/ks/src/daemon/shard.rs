//! An endpoint of the protocol with its share of the members. A tokio task each; does the public-key work
//! of phase 1, and owns nothing that another shard needs.

use super::authority::Input;
use super::network::{Datagram, Network, Sockets, send};
use crate::serve::{Order, carry_out};
use getvpn_gdoi::crypto::SystemRandom;
use getvpn_gdoi::server::{Server, ServerConfig, ServerCounters, ServerEvent};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tracing::{debug, info};

/// What a shard is told.
pub(super) enum ToShard {
    /// To do something for the authority.
    Order(Box<Order>),
    /// That the configuration has changed.
    Reconfigure(ServerConfig),
}

/// What a shard shows of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub counters: ServerCounters,
    /// Half-open and established phase 1s.
    pub phase1s: (usize, usize),
}

pub(super) type Orders = Vec<mpsc::UnboundedSender<ToShard>>;

/// What all shards show, one behind the other.
pub(super) type Shows = Vec<Arc<Mutex<Shown>>>;

/// Starts all shards, and then the readers.
pub(super) fn start(
    runtime: &Runtime,
    network: &mut Network,
    shards: usize,
    config: &ServerConfig,
    inputs: &mpsc::Sender<Input>,
) -> (Orders, Shows) {
    let (mut orders, mut shows) = (Vec::new(), Vec::new());
    for number in 0..shards {
        // An unbounded channel, because a shard may be waiting for the authority meanwhile: there are no
        // more orders than events that asked for them.
        let (sender, receiver) = mpsc::unbounded_channel();
        let Some(arrivals) = network.arrivals(number) else { continue };
        let show = Arc::new(Mutex::new(Shown::default()));
        let shard = Shard {
            number: u16::try_from(number).unwrap_or(u16::MAX),
            server: Server::new(config.clone()),
            sockets: network.sockets(),
            inputs: inputs.clone(),
            show: Arc::clone(&show),
        };
        runtime.spawn(shard.run(arrivals, receiver));
        orders.push(sender);
        shows.push(show);
    }
    network.start_readers(runtime);
    (orders, shows)
}

struct Shard {
    number: u16,
    server: Server,
    sockets: Sockets,
    inputs: mpsc::Sender<Input>,
    show: Arc<Mutex<Shown>>,
}

impl Shard {
    async fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Datagram>,
        mut orders: mpsc::UnboundedReceiver<ToShard>,
    ) {
        loop {
            let due = self.server.poll_timeout();
            let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                order = orders.recv() => match order {
                    Some(ToShard::Order(order)) => {
                        carry_out(&mut self.server, Instant::now(), *order, &mut SystemRandom);
                    }
                    Some(ToShard::Reconfigure(config)) => self.server.reconfigure(config),
                    None => return,
                },
                Some(Datagram { local, from, octets }) = arrivals.recv() => {
                    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                    let now = Instant::now();
                    self.server.handle_datagram(now, unix, local, from, &octets, &mut SystemRandom);
                }
                () = tokio::time::sleep_until(due.into()) => {
                    self.server.handle_timeout(Instant::now(), &mut SystemRandom);
                }
            }
            if self.let_go().await.is_err() {
                return;
            }
        }
    }

    /// Tells the authority what it has to know, and sends what is to be sent.
    async fn let_go(&mut self) -> Result<(), mpsc::error::SendError<Input>> {
        while let Some(event) = self.server.poll_event() {
            tell(&event);
            match event {
                ServerEvent::Established(_)
                | ServerEvent::Ended { .. }
                | ServerEvent::Hint { .. }
                | ServerEvent::Refused { .. } => {}
                // Not authenticated: it must not hold up what is.
                event @ ServerEvent::Ack { .. } => {
                    let _ = self.inputs.try_send(Input::Endpoint(self.number, event));
                }
                event => self.inputs.send(Input::Endpoint(self.number, event)).await?,
            }
        }
        while let Some(transmit) = self.server.poll_transmit() {
            send(&self.sockets, transmit.local, transmit.to, &transmit.datagram).await;
        }
        let mut show = self.show.lock().unwrap_or_else(PoisonError::into_inner);
        show.counters.clone_from(self.server.counters());
        show.phase1s = self.server.phase1s();
        Ok(())
    }
}

fn tell(event: &ServerEvent) {
    match event {
        ServerEvent::Established(peer) => {
            let info = &peer.info;
            debug!(
                event = "phase1_established",
                peer = %info.address,
                identity = %info.identity,
                method = %info.method,
                "phase 1 with {} ({}) by {}",
                info.identity,
                info.address,
                info.method
            );
        }
        ServerEvent::Ended { peer, why } => {
            let address = peer.info.address;
            debug!(event = "phase1_ended", peer = %address, %why, "phase 1 with {address} has ended: {why}");
        }
        ServerEvent::Hint { from, notify } => {
            info!(
                event = "hint",
                peer = %from,
                %notify,
                "{from}, or somebody in its name, says in the clear: {notify}"
            );
        }
        ServerEvent::Refused { from, why } => {
            info!(event = "message_refused", peer = %from, %why, "a message from {from} is refused: {why}");
        }
        _ => {}
    }
}
