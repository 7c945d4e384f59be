//! What can be wrong with a port, in words that an operator can act on.

use super::Port;
use crate::eal::{Guard, NotInitialised};
use crate::errno::Errno;

/// Why a port cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PortError {
    /// EAL is not running.
    #[error(transparent)]
    NotInitialised(#[from] NotInitialised),
    /// DPDK has no device of this name.
    #[error(
        "DPDK has no port {name:?}; it has {}. Virtual devices are made by --vdev in the EAL arguments; \
         a NIC must be bound to a driver that DPDK can use and be given by its PCI address{}",
        list(known),
        log.iter().map(|line| format!("\n  DPDK: {line}")).collect::<String>()
    )]
    NotFound {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
        /// What EAL said about the device while it started.
        log: Vec<String>,
    },
    /// It is configured already.
    #[error("port {0:?} is in use already: each port belongs to one link")]
    Taken(String),
    /// The device has fewer queues.
    #[error("port {name:?} has at most {max} {kind} queues, not {wanted}: configure fewer workers")]
    Queues {
        /// The port.
        name: String,
        /// "receive" or "transmit".
        kind: &'static str,
        /// How many were asked for.
        wanted: u16,
        /// How many it has.
        max: u16,
    },
    /// The device does not take packets that large.
    #[error("port {name:?} takes an mtu of at most {max}, not {wanted}")]
    Mtu {
        /// The port.
        name: String,
        /// Octets asked for.
        wanted: u16,
        /// Octets it takes.
        max: u16,
    },
    /// The driver refused a step.
    #[error("port {name:?} (driver {driver}): cannot {step}: {errno}")]
    Device {
        /// The port.
        name: String,
        /// Its driver.
        driver: String,
        /// What was tried.
        step: &'static str,
        /// The driver's reason.
        errno: Errno,
    },
}

impl PortError {
    pub(super) fn not_found(name: &str, guard: &Guard) -> PortError {
        PortError::NotFound { name: name.to_owned(), known: Port::names(), log: guard.log_about(name) }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no port at all".to_owned() } else { names.join(", ") }
}
