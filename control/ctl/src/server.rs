//! The daemons' end of the control socket. Runs on a daemon's control thread; never decides anything:
//! each request goes over a bounded channel to whoever knows the answer.
//!
//! Clients are bounded in number, in the length of a request and in time, and each has at most one
//! request under way, so that one that stalls or floods holds up nobody else: when all places are
//! taken, the client that has been idle for longest makes room.

use crate::protocol::{self, Command, Fault, FaultCode, MAX_REQUEST};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;
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
    /// How long a client may take to send its next request.
    pub idle: Duration,
    /// How long a client may take to read a reply.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients: 16, idle: Duration::from_secs(60), write: Duration::from_secs(10) }
    }
}

/// Who asks, as the kernel says.
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
    /// Anything else.
    #[error("control socket {0}: {1}; choose a [control] socket in a directory that this user can write")]
    Io(PathBuf, io::Error),
}

/// A control socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: net::UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Opens the socket, mode 0600. Creates its directory where there is none, and replaces the
    /// socket of a daemon that is gone. To be called before the process has other threads that
    /// create files, because it changes the umask for a moment.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let io = |e| BindError::Io(path.to_owned(), e);
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(io)?;
        }
        remove_stale(path)?;
        let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = net::UnixListener::bind(path);
        rustix::process::umask(mask);
        let listener = bound.map_err(io)?;
        let socket = Self { listener, path: path.to_owned() };
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
            clients.retain(|c| !c.task.is_finished());
            if clients.len() >= limits.clients && !evict_idle(&mut clients) {
                turn_away(&stream);
                continue;
            }
            let activity = Arc::new(Activity { epoch, idle_since: AtomicU64::new(0) });
            activity.idle();
            let task =
                tokio::spawn(serve_client(stream, calls.clone(), limits, activity.clone())).abort_handle();
            clients.push(Client { task, activity });
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

/// Ends the client that has been idle for longest; false when all wait for an answer.
fn evict_idle(clients: &mut Vec<Client>) -> bool {
    let idle = |c: &Client| c.activity.idle_since.load(Relaxed);
    let longest = (0..clients.len()).min_by_key(|&i| idle(&clients[i]));
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
    calls: mpsc::Sender<Call>,
    limits: Limits,
    activity: Arc<Activity>,
) {
    // The kernel knows of every client of a UNIX socket who it is.
    let Ok(peer) = stream.peer_cred() else { return };
    let peer = Peer { uid: peer.uid(), pid: peer.pid() };
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
            match Command::decode(&line) {
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
