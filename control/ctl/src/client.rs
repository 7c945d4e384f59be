//! The client's end of the control socket: one command, one answer, within a time. Runs in
//! `getvpnctl`; never writes anything but the socket.

use crate::protocol::{self, Command, Fault, MAX_REPLY};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon answered that it will not or cannot.
    #[error(transparent)]
    Refused(#[from] Fault),
    /// There is no socket at the path.
    #[error(
        "{0}: no such socket: is the daemon running, and is this the [control] socket of its configuration?"
    )]
    Missing(PathBuf),
    /// This user may not use the socket.
    #[error(
        "{0}: permission denied: run as root, as the user that the daemon runs as, or in the group of [control] read_group"
    )]
    Permission(PathBuf),
    /// Nothing listens at the path.
    #[error("{0}: nothing answers: the daemon is not running and left its socket behind")]
    NotListening(PathBuf),
    /// No answer in time.
    #[error("{0}: no answer within {1:?}: the daemon hangs, is stopped, or has too many clients")]
    Timeout(PathBuf, Duration),
    /// The daemon closed the connection without an answer.
    #[error("{0}: the daemon closed the connection without an answer")]
    Closed(PathBuf),
    /// The answer is none that this client knows.
    #[error("{0}: this is no answer of a getvpn daemon: {1}")]
    Protocol(PathBuf, String),
    /// Anything else.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// Asks the daemon at `socket` one thing and returns its reply, JSON as it came. `limit` bounds the
/// whole of it: connecting, asking and waiting.
///
/// # Errors
/// See [`ClientError`].
pub fn ask(socket: &Path, command: &Command, limit: Duration) -> Result<String, ClientError> {
    let request = command.encode();
    let (answer, answered) = mpsc::sync_channel(1);
    let path = socket.to_owned();
    // A thread, because connecting to a socket whose daemon is stopped blocks without limit.
    thread::spawn(move || answer.send(exchange(&path, &request)));
    match answered.recv_timeout(limit) {
        Ok(line) => match protocol::decode_answer(&line.map_err(|e| explain(socket, e))?) {
            Ok(Ok(reply)) => Ok(reply.get().to_owned()),
            Ok(Err(fault)) => Err(ClientError::Refused(fault)),
            Err(problem) => Err(ClientError::Protocol(socket.to_owned(), problem)),
        },
        Err(_) => Err(ClientError::Timeout(socket.to_owned(), limit)),
    }
}

fn exchange(socket: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    // A daemon with too many clients answers and closes before it has read anything: its answer
    // matters, not that the request could not be written.
    let written = stream.write_all(request.as_bytes());
    let mut line = String::new();
    let limit = MAX_REPLY as u64 + 1;
    let read = BufReader::new(stream).take(limit).read_line(&mut line);
    match read {
        Ok(_) if line.ends_with('\n') => Ok(line),
        Ok(n) if n as u64 == limit => Err(io::Error::new(ErrorKind::InvalidData, "the reply is too long")),
        Ok(_) => Err(written.err().unwrap_or_else(|| ErrorKind::UnexpectedEof.into())),
        Err(e) => Err(e),
    }
}

fn explain(socket: &Path, error: io::Error) -> ClientError {
    let path = socket.to_owned();
    match error.kind() {
        ErrorKind::NotFound => ClientError::Missing(path),
        ErrorKind::PermissionDenied => ClientError::Permission(path),
        ErrorKind::ConnectionRefused => ClientError::NotListening(path),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
            ClientError::Closed(path)
        }
        ErrorKind::InvalidData => ClientError::Protocol(path, error.to_string()),
        _ => ClientError::Io(path, error),
    }
}
