//! What `getvpnctl top` asks a daemon each second. Runs on a thread of its own, so that a daemon that hangs
//! does not freeze the view.

use std::path::Path;
use std::time::{Duration, Instant};

use getvpn_ctl::client::{self, ClientError};
use getvpn_ctl::reply::{Counters, Drops, GroupList, Runtime, SaList, Status, SyncReply};
use getvpn_ctl::{Command, reply};
use serde::de::DeserializeOwned;

/// A daemon at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When the counters were asked for.
    pub at: Instant,
    pub status: Status,
    pub counters: Counters,
    pub drops: Drops,
    pub sas: SaList,
    pub sync: SyncReply,
    /// A member's.
    pub runtime: Runtime,
    /// A key server's.
    pub groups: GroupList,
}

impl Sample {
    /// Asks the daemon at `socket`; each answer may take `limit`.
    pub fn take(socket: &Path, limit: Duration) -> Result<Sample, ClientError> {
        let status: Status = ask(socket, &Command::Status {}, limit)?;
        let is_member = status.role == "gm";
        let at = Instant::now();
        Ok(Sample {
            at,
            counters: ask(socket, &Command::Counters { per: false }, limit)?,
            drops: ask(socket, &Command::Drops { all: false, peek: true }, limit)?,
            sas: ask(socket, &Command::SaList {}, limit)?,
            sync: ask(socket, &Command::Sync {}, limit)?,
            runtime: match is_member {
                true => ask(socket, &Command::Runtime {}, limit)?,
                false => reply::Runtime::default(),
            },
            groups: match is_member {
                true => GroupList::default(),
                false => ask(socket, &Command::GroupList {}, limit)?,
            },
            status,
        })
    }
}

fn ask<T: DeserializeOwned>(socket: &Path, command: &Command, limit: Duration) -> Result<T, ClientError> {
    let reply = client::ask(socket, command, limit)?;
    serde_json::from_str(&reply)
        .map_err(|e| ClientError::Protocol(socket.to_owned(), format!("{}: {e}", command.name())))
}
