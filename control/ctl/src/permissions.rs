//! Who may use a control socket, and for what: the mode and group of the socket decide who can connect, and the
//! credentials that the kernel tells of the other end (SO_PEERCRED) decide what it may ask for. Daemon's end.

use crate::access::Access;
use crate::{Command, Fault, FaultCode};
use nix::unistd::{Uid, User};
use std::fmt;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use tokio::net::UnixStream;

/// Who may connect to a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The socket's mode.
    pub mode: u32,
    /// The group that it belongs to, if not the daemon's.
    pub group: Option<u32>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { mode: 0o600, group: None }
    }
}

impl Permissions {
    /// Gives a socket that only its owner can use its group, and then its mode.
    pub(crate) fn apply(self, path: &Path) -> io::Result<()> {
        if self.group.is_some() {
            chown(path, None, self.group)?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(self.mode))
    }
}

/// The user that the daemon runs as, who may change things besides root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    uid: u32,
    name: String,
}

impl Owner {
    /// This process's user. Asks for its name, which may take a while: to be called before anything waits.
    pub(crate) fn this() -> Self {
        let uid = Uid::effective();
        let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
        Self { uid: uid.as_raw(), name: name.unwrap_or_else(|| format!("user {uid}")) }
    }
}

/// Who is at the other end, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The process, where that is known.
    pub pid: Option<i32>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, ", process {pid}"))
    }
}

impl Peer {
    /// The other end of a connection, as it was when it connected.
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        stream.peer_cred().map(|credentials| Self { uid: credentials.uid(), pid: credentials.pid() })
    }

    /// Whether it may do more than read.
    pub(crate) fn is_privileged(self, owner: &Owner) -> bool {
        self.uid == 0 || self.uid == owner.uid
    }

    /// Refuses what it may not ask for, and says who may.
    pub(crate) fn check(self, command: &Command, owner: &Owner) -> Result<(), Fault> {
        let (allowed, does) = match command.access() {
            Access::Read => (true, ""),
            Access::Change => (self.is_privileged(owner), "changes something"),
            Access::Secret => (self.uid == 0, "reveals keys or cleartext"),
        };
        if allowed {
            return Ok(());
        }
        let who = match command.access() {
            Access::Change if owner.uid != 0 => {
                format!("root and {}, which this daemon runs as,", owner.name)
            }
            _ => "root".to_owned(),
        };
        let text =
            format!("`{}` {does}: only {who} may ask for it, and this is user {}", command.name(), self.uid);
        Err(Fault::new(FaultCode::Forbidden, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spi;

    fn says(uid: u32, command: &Command, owner: u32) -> Result<(), String> {
        let owner = Owner { uid: owner, name: "getvpn".into() };
        Peer { uid, pid: None }.check(command, &owner).map_err(|fault| {
            assert_eq!(fault.code, FaultCode::Forbidden);
            fault.message
        })
    }

    #[test]
    fn whoever_may_connect_reads_and_root_and_the_daemons_user_change() {
        let delete = Command::SaDelete { spi: Spi(1) };
        for uid in [0, 998, 1000] {
            assert_eq!(says(uid, &Command::Status {}, 998), Ok(()));
            assert_eq!(says(uid, &Command::Reload { dry_run: true }, 998), Ok(()));
        }
        assert_eq!((says(0, &delete, 998), says(998, &delete, 998)), (Ok(()), Ok(())));
        assert_eq!(
            says(1000, &delete, 998),
            Err("`sa delete` changes something: only root and getvpn, which this daemon runs as, may ask for it, \
                 and this is user 1000"
                .into())
        );
        assert_eq!(
            says(1000, &delete, 0),
            Err("`sa delete` changes something: only root may ask for it, and this is user 1000".into())
        );
    }
}
