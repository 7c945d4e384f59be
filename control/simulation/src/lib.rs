//! The control plane in one process, with virtual time: one key server, many members, and a network that
//! loses, delays, repeats and cuts. The key server and the members are the real ones, with real
//! cryptography; only sockets, clocks, randomness and the data plane are made here. A run follows from its
//! seed alone.
//!
//! Where to begin: [`run`] does a run and says what did not hold, [`Options`] is what can be asked for.
//! Inside, `world` is what happens, `faults` and `operator` what is done to it, `ledger` what must never
//! happen twice, and `audit` all else that must hold.

mod audit;
mod data_plane;
mod dice;
mod faults;
mod in_step;
mod key_server;
mod ledger;
mod member;
mod membership;
mod network;
mod operator;
mod queue;
mod report;
mod scenario;
mod serving;
mod world;

pub use report::{Failure, Figures, Report};
pub use scenario::Options;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does the run that follows from the options.
///
/// # Errors
/// What did not hold, with the command that shows it again.
pub fn run(options: &Options) -> Result<Report, Failure> {
    let caught = catch_unwind(AssertUnwindSafe(|| world::World::new(options.clone()).run()));
    let result = caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(format!("panicked: {}", text.unwrap_or_default()))
    });
    result.map_err(|what| Failure { what, options: options.clone() })
}
