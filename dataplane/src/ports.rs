//! Sets up ports, queues and buffers, and shares the queues out to workers: a queue of every port for
//! each worker where the devices have as many, else each receive queue to one worker. Runs on the
//! control thread, at the start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use dpdk::{Mempool, MempoolError, Port, PortConfig, PortError, Reassembler, ReassemblerError, cycles_hz};
use thiserror::Error;

use crate::dataplane::{DataplaneConfig, ExceptionConfig, LinkConfig};
use crate::egress::Egress;
use crate::exception::{self, Diverter, ExceptionPort};
use crate::fragment::Fragmenter;
use crate::inbound::Inbound;
use crate::outbound::{Mail, Outbound};
use crate::packet::ethernet;
use crate::reassembly::Fragments;
use crate::worker::{Station, Way};

/// Buffers that hold the largest packet: for reassembled datagrams and frames of several segments.
const LARGE_BUFFERS: u32 = 128;
/// Buffers that a worker may keep in its own cache.
const POOL_CACHE: u32 = 256;
const DESCRIPTORS: u16 = 1024;
/// ICMP errors that may wait for the LAN.
const MAIL_CAPACITY: usize = 64;
/// Datagrams that may wait for fragments, for each receive queue.
const REASSEMBLY_DATAGRAMS: u32 = 1024;
/// RFC 4963 and RFC 8200 allow up to 60 s; at line rate identifications repeat long before that.
const REASSEMBLY_AGE_MS: u32 = 2000;

/// Why ports or buffers cannot be had.
#[derive(Debug, Error)]
pub enum PortsError {
    /// A device is missing, or does not do what is asked of it.
    #[error("link {link:?}, {side} port {device:?}: {error}")]
    Port {
        /// Name of the link.
        link: String,
        /// LAN, WAN or exception.
        side: &'static str,
        /// The device, as configured.
        device: String,
        /// What DPDK said.
        error: Box<PortError>,
    },
    /// No memory for buffers.
    #[error("{0} ([workers] buffers)")]
    Buffers(#[from] MempoolError),
    /// No memory for fragments.
    #[error("{0}; give EAL more memory (-m, or hugepages)")]
    Fragments(#[from] ReassemblerError),
}

/// Ports that run, and the stations of each worker.
pub(crate) struct Wiring {
    pub(crate) pool: Arc<Mempool>,
    pub(crate) large: Arc<Mempool>,
    pub(crate) ports: Vec<Arc<Port>>,
    pub(crate) stations: Vec<Vec<Station>>,
    pub(crate) exceptions: Vec<ExceptionPort>,
}

/// Sets up the ports of all links for `workers` workers, and waits for them to come up.
pub(crate) fn wire(config: &DataplaneConfig, workers: usize) -> Result<Wiring, PortsError> {
    let largest_mtu = config.links.iter().map(|l| l.mtu).max().unwrap_or(1500);
    // Room behind the frame for the ESP trailer, so that sealing moves no packet.
    let room = usize::from(largest_mtu) + ethernet::MAX_HEADER + 64;
    let room = u16::try_from(room.max(2048)).unwrap_or(u16::MAX).min(Mempool::MAX_DATA_ROOM);
    let pool = buffers("getvpn-frames", config.buffers, POOL_CACHE, room)?;
    let large = buffers("getvpn-large", LARGE_BUFFERS, 0, Mempool::MAX_DATA_ROOM)?;
    let patience = u64::from(config.tx_wait_us) * cycles_hz() / 1_000_000;

    let mut wiring = Wiring {
        pool,
        large,
        ports: Vec::new(),
        stations: (0..workers).map(|_| Vec::new()).collect(),
        exceptions: Vec::new(),
    };
    for (number, link) in config.links.iter().enumerate() {
        wiring.connect(u16::try_from(number).unwrap_or(u16::MAX), link, patience)?;
    }
    await_links(&wiring.ports, config.link_wait);
    Ok(wiring)
}

fn buffers(name: &str, count: u32, cache: u32, room: u16) -> Result<Arc<Mempool>, PortsError> {
    Ok(Mempool::new(name, count, cache, room, None)?)
}

impl Wiring {
    fn connect(&mut self, link: u16, config: &LinkConfig, patience: u64) -> Result<(), PortsError> {
        let fault = |side, device| fault(&config.name, side, device);
        let lan_info = Port::by_name(&config.lan).map_err(fault("LAN", &config.lan))?;
        let wan_info = Port::by_name(&config.wan).map_err(fault("WAN", &config.wan))?;
        let workers = self.stations.len();
        let queues = u16::try_from(workers).unwrap_or(u16::MAX);
        let has_enough = |(rx, tx): (u16, u16)| rx >= queues && tx >= queues;
        let enough = has_enough(lan_info.max_queues()) && has_enough(wan_info.max_queues());
        let queues = if enough { queues } else { 1 };
        let port_config = PortConfig {
            rx_queues: queues,
            tx_queues: queues,
            rx_descriptors: DESCRIPTORS,
            tx_descriptors: DESCRIPTORS,
            mtu: config.mtu,
            rss: queues > 1,
            promiscuous: true,
            pool: Arc::clone(&self.pool),
        };
        let lan = Port::configure(&lan_info, &port_config).map_err(fault("LAN", &config.lan))?;
        let wan = Port::configure(&wan_info, &port_config).map_err(fault("WAN", &config.wan))?;
        let lan = lan.start().map_err(fault("LAN", &config.lan))?;
        let wan = wan.start().map_err(fault("WAN", &config.wan))?;
        for port in [&lan, &wan] {
            if port.mtu() < config.mtu {
                let (name, asked, mtu) = (port.info().name(), config.mtu, port.mtu());
                tracing::warn!(event = "mtu", port = name, asked, mtu, "the port takes a smaller MTU only");
            }
        }
        let own = config
            .exception
            .as_ref()
            .map(|own| self.exception(own, &wan, &config.name, &port_config))
            .transpose()?;
        let (mut from_host, host, host_port) = match own {
            Some((mail, diverter, port)) => (Some(mail), Some(diverter), Some(port)),
            None => (None, None, None),
        };
        for queue in 0..queues {
            let mail: Mail = Arc::new(ArrayQueue::new(MAIL_CAPACITY));
            // With one queue for all, the two directions of a link go to two workers if there are two.
            let (outbound, inbound) = if queues > 1 {
                (usize::from(queue), usize::from(queue))
            } else {
                (2 * usize::from(link) % workers, (2 * usize::from(link) + 1) % workers)
            };
            let (Some(lan_rx), Some(lan_tx)) = (lan.rx_queue(queue), lan.tx_queue(queue)) else { continue };
            let (Some(wan_rx), Some(wan_tx)) = (wan.rx_queue(queue), wan.tx_queue(queue)) else { continue };
            self.stations[outbound].push(Station {
                link,
                rx: lan_rx,
                way: Way::Outbound {
                    pipeline: Outbound::new(config.mtu, fragments()?, Fragmenter::new()),
                    wan: Egress::new(wan_tx, patience),
                    lan: Arc::clone(&mail),
                    own: from_host.take(),
                },
            });
            self.stations[inbound].push(Station {
                link,
                rx: wan_rx,
                way: Way::Inbound {
                    pipeline: Inbound::new(config.mtu, fragments()?, Fragmenter::new()),
                    lan: Egress::new(lan_tx, patience),
                    mail,
                    host: host.clone(),
                },
            });
        }
        self.ports.extend([Some(lan), Some(wan), host_port].into_iter().flatten().map(Arc::new));
        Ok(())
    }

    /// Sets up the exception port of a link; whoever sends on its WAN takes the frames from the first.
    fn exception(
        &mut self,
        own: &ExceptionConfig,
        wan: &Port,
        link: &str,
        config: &PortConfig,
    ) -> Result<(Mail, Diverter, Port), PortsError> {
        let config = PortConfig { rx_queues: 1, tx_queues: 1, rss: false, ..config.clone() };
        let port = start_exception(own, wan.info().mac(), &config);
        let port = port.map_err(fault(link, "exception", &own.device))?;
        let (Some(rx), Some(tx)) = (port.rx_queue(0), port.tx_queue(0)) else {
            unreachable!("a port that has just been configured has its queues")
        };
        let (end, diverter, mail) = exception::exception(rx, tx, port.info().mac());
        self.exceptions.push(end);
        Ok((mail, diverter, port))
    }
}

/// The port has the configured Ethernet address, or else that of the WAN port, which is nobody else's and the
/// same at each start; a device that has only its own keeps that.
fn start_exception(own: &ExceptionConfig, wan: [u8; 6], config: &PortConfig) -> Result<Port, PortError> {
    let info = Port::by_name(&own.device)?;
    let mut configured = Port::configure(&info, config)?;
    match own.mac {
        Some(mac) => configured.set_mac(mac)?,
        None => drop(configured.set_mac(wan)),
    }
    configured.start()
}

/// Names the port that an error is about.
fn fault(link: &str, side: &'static str, device: &str) -> impl FnOnce(PortError) -> PortsError + use<> {
    let (link, device) = (link.to_owned(), device.to_owned());
    move |error| PortsError::Port { link, side, device, error: Box::new(error) }
}

fn fragments() -> Result<Fragments, PortsError> {
    Ok(Fragments::new(Reassembler::new(REASSEMBLY_DATAGRAMS, REASSEMBLY_AGE_MS, None)?))
}

/// A virtual or distant peer may need a while; traffic sent before that would be lost.
fn await_links(ports: &[Arc<Port>], at_most: Duration) {
    let deadline = Instant::now() + at_most;
    for port in ports {
        while !port.link_up() {
            if Instant::now() >= deadline {
                tracing::warn!(event = "link_down", port = port.info().name(), "the port's link is down");
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
