//! getvpn's data plane: everything that touches a packet. Poll-mode workers encrypt and decrypt ESP
//! (RFC 4303) between the LAN and WAN ports of their links; a control thread publishes SAs and policy
//! to them. Knows nothing of GDOI, of configuration files or of sockets.
//!
//! Where to begin: [`Dataplane`] is what the control thread holds, `worker` is the loop, [`inbound`]
//! and [`outbound`] are the two ways of a packet.

mod context;
pub mod counters;
mod dataplane;
mod egress;
mod exception;
mod explain;
mod fragment;
pub mod inbound;
pub mod meter;
pub mod offender;
pub mod outbound;
pub mod packet;
pub mod parking;
mod plausibility;
mod policy;
mod ports;
pub mod probe;
pub mod publish;
pub mod punt;
mod reassembly;
pub mod replay;
mod ring;
mod sa;
mod selector;
pub mod sender;
mod snapshot;
pub mod spi_table;
mod sync;
mod too_big;
pub mod transform;
mod unwrap;
mod verdict;
mod words;
mod worker;
mod wrap;

pub use context::{Arrived, Context, Origin};
pub use dataplane::{Dataplane, DataplaneConfig, DataplaneError, ExceptionConfig, LinkConfig, LinkTally};
pub use egress::Egress;
pub use explain::{ExplainError, Explained, ExplainedRule, FiveTuple, Outcome};
pub use fragment::Fragmenter;
pub use parking::{ParkingLimits, ParkingUse};
pub use plausibility::{Plausibility, SpiKey, SpiTest};
pub use policy::{Enforce, Group, Installed, LocalAction, LocalRule, PolicyState, WithoutSa};
pub use ports::PortsError;
pub use reassembly::Fragments;
pub use sa::{Direction, Mode, ReplayPolicy, Sa, SaError, SaParams};
pub use selector::{ANY_PORT, Ports, Prefix, Selector};
pub use snapshot::Snapshot;
pub use verdict::DropReason;
pub use worker::Idle;
