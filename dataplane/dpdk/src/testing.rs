//! For tests and benchmarks: an EAL that needs no hugepages, no devices and no privileges, and ports
//! made of memory. Not part of the product.

use std::ffi::{CString, c_int};
use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::eal::{Eal, EalError, Guard};
use crate::errno::Errno;
use crate::mbuf::{Burst, Mbuf, spare_room};
use crate::mempool::unique_name;
use crate::port::{Device, made_here};

/// The one EAL of a test process: 512 MB of ordinary memory, four lcores (three of them workers) that
/// may run on any core, no files left behind. Started by whoever asks first.
///
/// # Panics
/// When EAL does not start, with its reason.
pub fn eal() -> &'static Eal {
    static EAL: OnceLock<Result<Eal, EalError>> = OnceLock::new();
    let eal = EAL.get_or_init(|| {
        // A thread of its own, since the one that starts EAL is pinned to a core.
        let eal = thread::spawn(|| Eal::init(&arguments())).join().expect("EAL does not panic");
        eal.inspect(Eal::main_thread_has_ended)
    });
    eal.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// Without hugepages, `--no-shconf` is what keeps processes apart: `--in-memory` excludes `--no-huge`.
fn arguments() -> Vec<String> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let all = format!("(0-3)@(0-{})", cores - 1);
    ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "512", "--lcores", &all]
        .map(str::to_owned)
        .to_vec()
}

/// A port whose wire is memory: what is injected is what the port receives, what the port sends is
/// collected. Open it by its [`RingPort::name`] as any other.
#[derive(Debug)]
pub struct RingPort {
    rings: Arc<Rings>,
}

impl RingPort {
    /// A device of `queues` receive and as many transmit queues, each of which holds `depth` packets (a
    /// power of two) less one.
    ///
    /// # Errors
    /// DPDK's reason: not enough memory, or a depth that is none.
    pub fn new(queues: u16, depth: u32) -> Result<RingPort, Errno> {
        let guard = Guard::current().map_err(|_| Errno::last())?;
        let ring = |_| {
            let name = unique_name("wire");
            // SAFETY: the name is NUL-terminated and copied.
            let raw = unsafe { sys::rte_ring_create(name.as_ptr(), depth, c_int::from(-1i8), 0) };
            NonNull::new(raw).map(Ring).ok_or_else(Errno::last)
        };
        let rx = (0..queues).map(ring).collect::<Result<Vec<_>, _>>()?;
        let tx = (0..queues).map(ring).collect::<Result<Vec<_>, _>>()?;
        let pointers = |rings: &[Ring]| rings.iter().map(|ring| ring.0.as_ptr()).collect::<Vec<_>>();
        let (rx_pointers, tx_pointers) = (pointers(&rx), pointers(&tx));
        let short_name = unique_name("test");
        let control = guard.control();
        // SAFETY: the arrays hold that many live rings, and are copied; the rings outlive the device.
        let id = unsafe {
            sys::rte_eth_from_rings(
                short_name.as_ptr(),
                rx_pointers.as_ptr(),
                u32::from(queues),
                tx_pointers.as_ptr(),
                u32::from(queues),
                0,
            )
        };
        drop(control);
        let id = u16::try_from(id).map_err(|_| Errno::last())?;
        let name = format!("net_ring_{}", short_name.to_string_lossy());
        let rings = Arc::new(Rings { name, rx, tx, guard });
        let as_device: Arc<dyn Device> = rings.clone();
        let weak: Weak<dyn Device> = Arc::downgrade(&as_device);
        made_here(id, weak);
        Ok(RingPort { rings })
    }

    /// The name to open the port by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.rings.name
    }

    /// Puts packets from the front of the burst where the port's receive queue finds them, as many as
    /// there is room for; how many. The others stay.
    pub fn inject<const N: usize>(&self, queue: u16, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let ring = &self.rings.rx[usize::from(queue)];
        let count = burst.len();
        let offered = u32::try_from(count).unwrap_or(u32::MAX);
        let packets = burst.as_mut_ptr();
        // SAFETY: the ring takes a prefix of these pointers over; it is made for several threads.
        let taken = unsafe { sys::shim_ring_enqueue_burst(ring.0.as_ptr(), packets.cast(), offered) };
        let taken = taken as usize;
        let left = count - taken;
        // SAFETY: the taken packets are overwritten without being dropped, the others move up.
        unsafe {
            ptr::copy(packets.add(taken), packets, left);
            burst.set_len(left);
        }
        taken
    }

    /// Appends what the port has sent to the burst, as many packets as there is room for; how many.
    pub fn collect<const N: usize>(&self, queue: u16, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        self.rings.tx[usize::from(queue)].take(burst)
    }
}

#[derive(Debug)]
struct Rings {
    name: String,
    rx: Vec<Ring>,
    tx: Vec<Ring>,
    guard: Arc<Guard>,
}

impl Device for Rings {}

impl Drop for Rings {
    fn drop(&mut self) {
        remove(&self.guard, &self.name);
        for ring in self.rx.iter().chain(&self.tx) {
            let mut burst = Burst::new();
            while ring.take(&mut burst) > 0 {
                burst.clear();
            }
            // SAFETY: the device that used the ring is gone, and so is every handle; it is empty.
            unsafe { sys::rte_ring_free(ring.0.as_ptr()) };
        }
    }
}

#[derive(Debug)]
struct Ring(NonNull<sys::rte_ring>);

// SAFETY: the rings are made for several producers and consumers.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    fn take<const N: usize>(&self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let room = u32::try_from(burst.remaining_capacity()).unwrap_or(u32::MAX);
        let spare = spare_room(burst);
        // SAFETY: spare has room for that many pointers, which Mbuf is.
        let taken = unsafe { sys::shim_ring_dequeue_burst(self.0.as_ptr(), spare, room) } as usize;
        // SAFETY: that many places were filled with packets that are ours alone.
        unsafe { burst.set_len(burst.len() + taken) };
        taken
    }
}

/// A virtual device as `--vdev` makes it, but while EAL runs. Goes away with this and the port on it.
#[derive(Debug)]
pub struct VirtualDevice {
    device: Arc<Hotplugged>,
}

impl VirtualDevice {
    /// Makes `name` (such as `net_pcap7`) with the driver's arguments (`rx_pcap=in.pcap,...`).
    ///
    /// # Errors
    /// The driver's reason.
    pub fn new(name: &str, arguments: &str) -> Result<VirtualDevice, Errno> {
        let guard = Guard::current().map_err(|_| Errno::last())?;
        let (c_name, c_arguments) = (c_string(name), c_string(arguments));
        let control = guard.control();
        // SAFETY: the strings are NUL-terminated and copied.
        let result =
            unsafe { sys::rte_eal_hotplug_add(c"vdev".as_ptr(), c_name.as_ptr(), c_arguments.as_ptr()) };
        drop(control);
        Errno::check(result)?;
        let device = Arc::new(Hotplugged { name: name.to_owned(), guard });
        if let Ok(info) = crate::port::Port::by_name(name) {
            let as_device: Arc<dyn Device> = device.clone();
            let weak: Weak<dyn Device> = Arc::downgrade(&as_device);
            made_here(info.id(), weak);
        }
        Ok(VirtualDevice { device })
    }

    /// The name to open the port by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.device.name
    }
}

#[derive(Debug)]
struct Hotplugged {
    name: String,
    guard: Arc<Guard>,
}

impl Device for Hotplugged {}

impl Drop for Hotplugged {
    fn drop(&mut self) {
        remove(&self.guard, &self.name);
    }
}

fn remove(guard: &Guard, name: &str) {
    let name = c_string(name);
    let _control = guard.control();
    // SAFETY: the name is NUL-terminated; no port on the device is open.
    unsafe { sys::rte_eal_hotplug_remove(c"vdev".as_ptr(), name.as_ptr()) };
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
