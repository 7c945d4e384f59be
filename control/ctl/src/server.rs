//! The daemons' end of the control socket. Runs on a daemon's control thread; never decides anything:
//! each request goes over a bounded channel to whoever knows the answer.
//!
//! Clients are bounded in number, in the length of a request and in time, and each has at most one
//! request under way, so that one that stalls or floods holds up nobody else: when all places are
//! taken, the client that has been idle for longest makes room. Clients that may only read have but a part of
//! the places, so that who has to put something right always finds one.

use crate::Permissions;
use crate::permissions::{Owner, Peer};
use crate::protocol::{self, Command, Fault, FaultCode, MAX_REQUEST};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

/// What clients may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients connected at a time.
    pub clients: usize,
    /// How many of them may be such that only read.
    pub readers: usize,
    /// How long a client may take to send its next request.
    pub idle: Duration,
    /// How long a client may take to read a reply.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients: 16, readers: 12, idle: Duration::from_secs(60), write: Duration::from_secs(10) }
    }
}

/// A request that waits for its answer.
pub struct Call {
    /// Who asks.
    pub peer: Peer,
    /// What is asked.
    pub command: Command,
    answer: oneshot::Sender<Result<Box<RawValue>, Fault>>,
}

impl Call {
    /// Answers it. A client that has gone meanwhile is no error.
    pub fn answer(self, reply: Result<impl Serialize, Fault>) {
        let raw = reply.and_then(|reply| {
            serde_json::value::to_raw_value(&reply)
                .map_err(|e| Fault::new(FaultCode::Internal, format!("the reply could not be written: {e}")))
        });
        let _ = self.answer.send(raw);
    }
}

/// Why a control socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The path is taken by a daemon that is alive.
    #[error(
        "control socket {0}: another daemon answers on it; stop that one, or give this one its own [control] socket"
    )]
    InUse(PathBuf),
    /// The path is taken by something else.
    #[error(
        "control socket {0}: there is a file of this name that is not a socket; remove it or choose another [control] socket"
    )]
    NotASocket(PathBuf),
    /// The socket cannot be given to a group.
    #[error(
        "control socket {0}: it cannot be given to group {1}: {2}; run as root or as a member of [control] read_group"
    )]
    Group(PathBuf, u32, io::Error),
    /// Anything else.
    #[error("control socket {0}: {1}; choose a [control] socket in a directory that this user can write")]
    Io(PathBuf, io::Error),
}

/// A control socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: net::UnixListener,
    path: PathBuf,
    owner: Arc<Owner>,
}

impl ControlSocket {
    /// Opens the socket for its owner only. See [`Self::bind_for`].
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Self::bind_for(path, Permissions::default())
    }

    /// Opens the socket. Creates its directory where there is none, and replaces the
    /// socket of a daemon that is gone. To be called before the process has other threads that
    /// create files, because it changes the umask for a moment.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind_for(path: &Path, permissions: Permissions) -> Result<Self, BindError> {
        let io = |e| BindError::Io(path.to_owned(), e);
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(io)?;
        }
        remove_stale(path)?;
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = net::UnixListener::bind(path);
        rustix::process::umask(mask);
        let listener = bound.map_err(io)?;
        let socket = Self { listener, path: path.to_owned(), owner: Arc::new(Owner::this()) };
        permissions.apply(path).map_err(|e| match permissions.group {
            Some(group) => BindError::Group(path.to_owned(), group, e),
            None => io(e),
        })?;
        socket.listener.set_nonblocking(true).map_err(io)?;
        Ok(socket)
    }

    /// Serves clients until the receiver of `calls` is gone or accepting fails for good.
    ///
    /// # Errors
    /// When the socket cannot be used with this runtime.
    pub async fn serve(&self, calls: mpsc::Sender<Call>, limits: Limits) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let epoch = Instant::now();
        let mut clients: Vec<Client> = Vec::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = calls.closed() => return Ok(()),
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, or the client went away: neither lasts.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // Who cannot be told is nobody to talk to.
            let Ok(peer) = Peer::of(&stream) else { continue };
            let reads = !peer.is_privileged(&self.owner);
            clients.retain(|c| !c.task.is_finished());
            if !make_room(&mut clients, limits, reads) {
                turn_away(&stream);
                continue;
            }
            let activity = Arc::new(Activity { epoch, idle_since: AtomicU64::new(0) });
            activity.idle();
            let from = (peer, Arc::clone(&self.owner));
            let serving = serve_client(stream, from, calls.clone(), limits, activity.clone());
            clients.push(Client { task: tokio::spawn(serving).abort_handle(), activity, reads });
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket on which nothing answers.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let io = |e| BindError::Io(path.to_owned(), e);
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io(e)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match net::UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(io),
        Err(e) => Err(io(e)),
    }
}

struct Client {
    task: AbortHandle,
    activity: Arc<Activity>,
    /// Whether it may only read.
    reads: bool,
}

/// Since when a client has been idle. Written by the client's task, read by the accepting one.
struct Activity {
    epoch: Instant,
    /// Milliseconds from `epoch`, or `BUSY`.
    idle_since: AtomicU64,
}

impl Activity {
    const BUSY: u64 = u64::MAX;

    fn idle(&self) {
        let since = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(Self::BUSY - 1);
        self.idle_since.store(since, Relaxed);
    }

    fn busy(&self) {
        self.idle_since.store(Self::BUSY, Relaxed);
    }
}

/// Sees to it that there is a place for another client; false when all that could leave wait for an answer. One that
/// only reads never takes the place of one that does more.
fn make_room(clients: &mut Vec<Client>, limits: Limits, reads: bool) -> bool {
    let readers = clients.iter().filter(|c| c.reads).count();
    let full = clients.len() >= limits.clients;
    if reads && (full || readers >= limits.readers) {
        return evict_idle(clients, |c| c.reads);
    }
    !full || evict_idle(clients, |c| c.reads) || evict_idle(clients, |_| true)
}

/// Ends the client that has been idle for longest, of those that may be ended; false when all of them wait for an
/// answer.
fn evict_idle(clients: &mut Vec<Client>, may_end: impl Fn(&Client) -> bool) -> bool {
    let idle = |c: &Client| c.activity.idle_since.load(Relaxed);
    let longest = (0..clients.len()).filter(|&i| may_end(&clients[i])).min_by_key(|&i| idle(&clients[i]));
    match longest.filter(|&i| idle(&clients[i]) != Activity::BUSY) {
        Some(i) => {
            clients.swap_remove(i).task.abort();
            true
        }
        None => false,
    }
}

fn turn_away(stream: &UnixStream) {
    let fault = Fault::new(FaultCode::Busy, "the daemon has too many clients; try again");
    // One attempt: a client that does not even take this is not worth waiting for.
    let _ = stream.try_write(protocol::encode_answer(&Err(fault)).as_bytes());
}

async fn serve_client(
    mut stream: UnixStream,
    (peer, owner): (Peer, Arc<Owner>),
    calls: mpsc::Sender<Call>,
    limits: Limits,
    activity: Arc<Activity>,
) {
    let (read, mut write) = stream.split();
    let mut requests = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        activity.idle();
        line.clear();
        let mut limited = (&mut requests).take(MAX_REQUEST as u64);
        match timeout(limits.idle, limited.read_until(b'\n', &mut line)).await {
            Ok(Ok(n)) if n > 0 => {}
            _ => return,
        }
        activity.busy();
        let too_long = line.len() == MAX_REQUEST && !line.ends_with(b"\n");
        let answer = if too_long {
            Err(Fault::new(FaultCode::TooLong, format!("a request may have {MAX_REQUEST} octets")))
        } else {
            match Command::decode(&line).and_then(|c| peer.check(&c, &owner).map(|()| c)) {
                Ok(command) => call(&calls, peer, command).await,
                Err(fault) => Err(fault),
            }
        };
        let answer = protocol::encode_answer(&answer);
        match timeout(limits.write, write.write_all(answer.as_bytes())).await {
            Ok(Ok(())) if !too_long => {}
            _ => return,
        }
    }
}

async fn call(calls: &mpsc::Sender<Call>, peer: Peer, command: Command) -> Result<Box<RawValue>, Fault> {
    let stopping = |_| Fault::new(FaultCode::Busy, "the daemon is stopping");
    let (answer, answered) = oneshot::channel();
    calls.send(Call { peer, command, answer }).await.map_err(|_| stopping(()))?;
    answered.await.map_err(|_| stopping(()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that waits for an answer, or has been idle since then.
    fn client(reads: bool, idle_since: Option<u64>) -> Client {
        let since = AtomicU64::new(idle_since.unwrap_or(Activity::BUSY));
        let activity = Arc::new(Activity { epoch: Instant::now(), idle_since: since });
        Client { task: tokio::spawn(std::future::pending::<()>()).abort_handle(), activity, reads }
    }

    #[tokio::test]
    async fn readers_never_take_the_place_of_who_may_change_something() {
        let limits = Limits { clients: 4, readers: 2, ..Limits::default() };
        let mut clients = vec![client(false, Some(1)), client(true, Some(3)), client(true, Some(2))];
        assert!(make_room(&mut clients, limits, true), "the reader that has been idle for longest leaves");
        let left: Vec<_> = clients.iter().map(|c| c.activity.idle_since.load(Relaxed)).collect();
        assert_eq!(left, [1, 3]);
        clients.push(client(true, None));
        clients.push(client(false, Some(0)));
        assert!(make_room(&mut clients, limits, false), "a reader goes first");
        assert_eq!(clients.iter().filter(|c| c.reads).count(), 1);
        let mut busy = vec![client(false, Some(1)), client(true, None), client(true, None)];
        assert!(!make_room(&mut busy, limits, true), "not in the place of another kind");
        assert!(make_room(&mut busy, limits, false), "there is one left");
    }
}
