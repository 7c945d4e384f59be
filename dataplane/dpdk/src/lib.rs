//! Safe, RAII wrappers around the parts of DPDK that getvpn uses: EAL, lcores, mempools, mbufs, ports
//! and their queues, the ACL classifier, IP fragmentation and reassembly. Every FFI call of the
//! workspace is in this crate; it knows nothing of ESP, policy or configuration files.
//!
//! # What keeps it sound
//! - Nothing works before [`Eal::init`]; whatever needs EAL's memory holds it alive, so that it is
//!   cleaned up only after the last mempool, port, classifier and running lcore is gone.
//! - An [`Mbuf`] is a packet with one owner and one reference: no clones, no indirect or shared buffers
//!   can be made, so its octets can be borrowed mutably.
//! - A queue is taken from its port once and is not `Clone`: one owner by type, as drivers require.

pub mod acl;
pub mod eal;
mod errno;
mod fragment;
mod lcore;
mod mbuf;
mod mempool;
mod port;
mod queue;
mod reassembly;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use eal::{Eal, EalError, EalProblem, NotInitialised};
pub use errno::Errno;
pub use fragment::{FragmentError, fragment_ipv4, fragment_ipv6};
pub use lcore::{JoinHandle, LaunchError, LcoreId, cycles, cycles_hz};
pub use mbuf::{BURST, Burst, HEADROOM, Mbuf, free_burst};
pub use mempool::{Mempool, MempoolError};
pub use port::{Configured, Port, PortConfig, PortError, PortInfo, PortStats};
pub use queue::{RxQueue, TxQueue};
pub use reassembly::{MAX_FRAGMENTS, Reassembler, ReassemblerError, Reassembly};
