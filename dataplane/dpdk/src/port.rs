//! Ethernet devices, physical and virtual: found by name, configured to what they offer, started, and
//! closed when their last queue is dropped. Control threads do this; workers only hold the queues.

mod error;
mod setup;

pub use error::PortError;

use std::ffi::{CStr, CString, c_char};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use dpdk_sys as sys;

use crate::eal::{Guard, lock};
use crate::errno::Errno;
use crate::mempool::Mempool;
use crate::queue::{RxQueue, TxQueue};

/// What a device is and offers, as its driver tells.
#[derive(Clone, Debug)]
pub struct PortInfo {
    id: u16,
    name: String,
    driver: String,
    numa_node: Option<u32>,
    mac: [u8; 6],
    max_rx_queues: u16,
    max_tx_queues: u16,
    max_mtu: u16,
    max_frame: u32,
    rss_hash_functions: u64,
    rx_offloads: u64,
    tx_offloads: u64,
}

/// How a port shall be set up.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Receive queues, at least one.
    pub rx_queues: u16,
    /// Transmit queues, at least one.
    pub tx_queues: u16,
    /// Packets that a receive queue holds; adjusted to what the device can.
    pub rx_descriptors: u16,
    /// Packets that a transmit queue holds; adjusted to what the device can.
    pub tx_descriptors: u16,
    /// Octets of the largest IP packet.
    pub mtu: u16,
    /// Whether the device shall spread flows over its receive queues, by what it can hash of addresses
    /// and ports.
    pub rss: bool,
    /// Whether it shall receive frames for all addresses.
    pub promiscuous: bool,
    /// Where received packets are put.
    pub pool: Arc<Mempool>,
}

/// What a device has counted since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Packets that the device dropped because its receive queues were full.
    pub rx_missed: u64,
    /// Packets received in error.
    pub rx_errors: u64,
    /// Times that no buffer was left to receive into.
    pub rx_no_buffer: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Octets sent.
    pub tx_octets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// A started port. It runs until this and all its queues are dropped, and is then stopped and closed,
/// after which DPDK knows it no more.
#[derive(Debug)]
pub struct Port {
    open: Arc<OpenPort>,
    info: PortInfo,
    mtu: u16,
    rx_taken: Vec<AtomicBool>,
    tx_taken: Vec<AtomicBool>,
}

impl Port {
    /// The names of all devices, as EAL made them.
    #[must_use]
    pub fn names() -> Vec<String> {
        let Ok(guard) = Guard::current() else { return Vec::new() };
        let _control = guard.control();
        let next = |from: u16| {
            // SAFETY: reads DPDK's table of devices.
            let id = unsafe { sys::rte_eth_find_next(from) };
            (u32::from(id) < sys::RTE_MAX_ETHPORTS).then_some(id)
        };
        std::iter::successors(next(0), |&id| next(id + 1)).filter_map(setup::name_of).collect()
    }

    /// Finds the device of this name: a virtual one's from `--vdev`, or a PCI address.
    ///
    /// # Errors
    /// [`PortError::NotFound`] lists the names there are.
    pub fn by_name(name: &str) -> Result<PortInfo, PortError> {
        let guard = Guard::current()?;
        let not_found = || PortError::not_found(name, &guard);
        let c_name = CString::new(name).map_err(|_| not_found())?;
        let mut id = 0;
        let control = guard.control();
        // SAFETY: the name is NUL-terminated, id a place for the answer.
        let result = unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) };
        drop(control);
        if result != 0 {
            return Err(not_found());
        }
        setup::describe(id, name)
    }

    /// Sets the device up and makes it ready to start. Each device can be configured once.
    ///
    /// # Errors
    /// See [`PortError`].
    pub fn configure(info: &PortInfo, config: &PortConfig) -> Result<Configured, PortError> {
        let guard = Guard::current()?;
        setup::check(info, config)?;
        let open = OpenPort::claim(guard, info, Arc::clone(&config.pool))?;
        let mtu = setup::configure(info, config)?;
        Ok(Configured { open, info: info.clone(), config: config.clone(), mtu })
    }

    /// What the device is.
    #[must_use]
    pub fn info(&self) -> &PortInfo {
        &self.info
    }

    /// The MTU in force in octets, as far as the device tells; no larger than asked for.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Takes receive queue `queue`. There is one owner at most: a second time gives `None`, and so does a
    /// queue that was not configured.
    #[must_use]
    pub fn rx_queue(&self, queue: u16) -> Option<RxQueue> {
        take(&self.rx_taken, queue).then(|| RxQueue::new(Arc::clone(&self.open), queue))
    }

    /// Takes transmit queue `queue`, once, as [`Port::rx_queue`].
    #[must_use]
    pub fn tx_queue(&self, queue: u16) -> Option<TxQueue> {
        take(&self.tx_taken, queue).then(|| TxQueue::new(Arc::clone(&self.open), queue))
    }

    /// Whether the link is up; a device that cannot tell is taken as up.
    #[must_use]
    pub fn link_up(&self) -> bool {
        // SAFETY: the port is open.
        unsafe { sys::shim_eth_link_is_up(self.open.id) != 0 }
    }

    /// What the device has counted.
    ///
    /// # Errors
    /// The driver does not count.
    pub fn stats(&self) -> Result<PortStats, Errno> {
        let mut raw = sys::rte_eth_stats::default();
        // SAFETY: the port is open, raw a place for the answer.
        Errno::check(unsafe { sys::rte_eth_stats_get(self.open.id, &raw mut raw) })?;
        Ok(PortStats {
            rx_packets: raw.ipackets,
            rx_octets: raw.ibytes,
            rx_missed: raw.imissed,
            rx_errors: raw.ierrors,
            rx_no_buffer: raw.rx_nombuf,
            tx_packets: raw.opackets,
            tx_octets: raw.obytes,
            tx_errors: raw.oerrors,
        })
    }
}

/// A port that is set up but does not run yet.
#[derive(Debug)]
pub struct Configured {
    open: Arc<OpenPort>,
    info: PortInfo,
    config: PortConfig,
    mtu: u16,
}

impl Configured {
    /// Gives the device another Ethernet address.
    ///
    /// # Errors
    /// [`PortError::Device`] when it keeps its own.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<(), PortError> {
        setup::set_mac(&self.info, mac)?;
        self.info.mac = mac;
        Ok(())
    }

    /// Starts the port: from now on it receives.
    ///
    /// # Errors
    /// [`PortError::Device`] with the driver's reason.
    pub fn start(self) -> Result<Port, PortError> {
        setup::start(&self.info, &self.config)?;
        let untaken = |n| (0..n).map(|_| AtomicBool::new(false)).collect();
        Ok(Port {
            rx_taken: untaken(self.config.rx_queues),
            tx_taken: untaken(self.config.tx_queues),
            open: self.open,
            info: self.info,
            mtu: self.mtu,
        })
    }
}

impl PortInfo {
    /// The name it is found by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// DPDK's number of it.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The driver's name, such as `net_pcap`.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// The NUMA node it is attached to; `None` for most virtual devices.
    #[must_use]
    pub fn numa_node(&self) -> Option<u32> {
        self.numa_node
    }

    /// Its Ethernet address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// How many receive and transmit queues it can have.
    #[must_use]
    pub fn max_queues(&self) -> (u16, u16) {
        (self.max_rx_queues, self.max_tx_queues)
    }

    /// The largest MTU it takes, in octets; 65,535 also when it does not care.
    #[must_use]
    pub fn max_mtu(&self) -> u16 {
        self.max_mtu
    }

    /// Whether it can spread flows over receive queues.
    #[must_use]
    pub fn has_rss(&self) -> bool {
        self.rss_hash_functions & (sys::SHIM_RSS_IP | sys::SHIM_RSS_PORTS) != 0
    }
}

/// A device that is this process's to use: from configuring until the last queue is gone.
#[derive(Debug)]
pub(crate) struct OpenPort {
    id: u16,
    /// Its driver holds pointers to the pool.
    _pool: Arc<Mempool>,
    /// What the device is made of, where this process made it.
    _device: Option<Arc<dyn Device>>,
    guard: Arc<Guard>,
}

impl OpenPort {
    /// DPDK's number of the port.
    #[inline]
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    fn claim(guard: Arc<Guard>, info: &PortInfo, pool: Arc<Mempool>) -> Result<Arc<Self>, PortError> {
        let mut claimed = lock(&CLAIMED);
        if claimed.contains(&info.id) {
            return Err(PortError::Taken(info.name.clone()));
        }
        // The info may be older than the device.
        if setup::name_of(info.id).as_deref() != Some(&info.name) {
            drop(claimed);
            return Err(PortError::not_found(&info.name, &guard));
        }
        claimed.push(info.id);
        let device =
            lock(&MADE_HERE).iter().find(|(id, _)| *id == info.id).and_then(|(_, weak)| weak.upgrade());
        Ok(Arc::new(OpenPort { id: info.id, _pool: pool, _device: device, guard }))
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        let control = self.guard.control();
        // SAFETY: the device is this value's, and no queue of it is left to be polled: each holds this.
        // Stopping what does not run and closing are then in order; errors leave nothing to do.
        unsafe {
            sys::rte_eth_dev_stop(self.id);
            sys::rte_eth_dev_close(self.id);
        }
        // Before anyone can make a device that gets the same number.
        lock(&CLAIMED).retain(|&id| id != self.id);
        drop(control);
    }
}

/// A device that this process made itself; it lives as long as a port on it is open.
pub(crate) trait Device: std::fmt::Debug + Send + Sync {}

/// Remembers what made the device, so that an open port can keep it.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn made_here(id: u16, device: std::sync::Weak<dyn Device>) {
    let mut made = lock(&MADE_HERE);
    // A number that DPDK gives out again is no longer the older device's, also while that is being dropped.
    made.retain(|(other, weak)| *other != id && weak.strong_count() > 0);
    made.push((id, device));
}

/// The ports that are configured. Control threads write it.
static CLAIMED: Mutex<Vec<u16>> = Mutex::new(Vec::new());
/// The devices that were made by this process. Control threads write it.
static MADE_HERE: Mutex<Vec<(u16, std::sync::Weak<dyn Device>)>> = Mutex::new(Vec::new());

fn take(taken: &[AtomicBool], queue: u16) -> bool {
    taken.get(usize::from(queue)).is_some_and(|taken| !taken.swap(true, Ordering::AcqRel))
}

/// A C string that a driver owns and does not change.
///
/// # Safety
/// `text` must be null or a NUL-terminated string.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
