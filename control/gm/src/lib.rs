//! The group member daemon: reads its configuration, starts the data plane, and keeps its SAs. All of
//! it runs on the control thread; nothing here touches a packet.
//!
//! Where to begin: [`daemon`] is the member from its start to its end, [`config`] what it is told,
//! [`sad`] what it holds, [`key_servers`] how it gets that and stays in step, [`reserve`] why no IV of a
//! manual SA is used twice.

pub mod answers;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod eal;
pub mod inspect;
pub mod key_servers;
pub mod keys;
pub mod lookups;
pub use getvpn_config::logging;
pub mod manual;
pub mod member;
pub mod metrics;
pub mod probing;
pub mod reload;
pub mod reserve;
pub mod sad;
pub mod telemetry;
pub mod udp;
pub mod unknown;
pub mod vitals;
