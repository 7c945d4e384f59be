//! The two ends of the control socket against each other, and `getvpnctl` as its users start it.
#![allow(clippy::unwrap_used, reason = "a test")]

use getvpn_ctl::client::{self, ClientError};
use getvpn_ctl::server::{BindError, Call, ControlSocket, Limits};
use getvpn_ctl::{Command, Fault, FaultCode, MAX_REQUEST, reply};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{self, Output};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon that knows one SA, 0x00010001, and never answers about 0x0000dead.
struct Daemon {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Daemon {
    fn start(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/dir/gm.sock");
        let socket = ControlSocket::bind(&path).unwrap();
        let (stop, mut stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (calls, mut waiting) = mpsc::channel(4);
                let mut unanswered = Vec::new();
                let serve = socket.serve(calls, limits);
                tokio::pin!(serve);
                loop {
                    tokio::select! {
                        _ = &mut serve => return,
                        _ = &mut stopped => return,
                        Some(call) = waiting.recv() => answer(call, &mut unanswered),
                    }
                }
            });
        });
        Self { path, stop: Some(stop), thread: Some(thread), _dir: dir }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
        assert!(!self.path.exists(), "the socket is removed at the end");
    }
}

fn answer(call: Call, unanswered: &mut Vec<Call>) {
    match call.command {
        Command::SaDelete { spi } if spi.0 == 0x0001_0001 => {
            call.answer(Ok(reply::SaDeleted { deleted: spi, group: "finance".into() }));
        }
        Command::SaDelete { spi } if spi.0 == 0xdead => unanswered.push(call),
        Command::SaDelete { spi } => {
            let fault = Fault::new(FaultCode::NotFound, format!("there is no SA {spi}"));
            call.answer(Err::<(), _>(fault));
        }
        _ => call.answer(Ok(reply::SaList::default())),
    }
}

fn getvpnctl(socket: &Path, arguments: &[&str]) -> Output {
    process::Command::new(env!("CARGO_BIN_EXE_getvpnctl"))
        .env_remove("GETVPN_SOCKET")
        .arg("--socket")
        .arg(socket)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_socket_is_for_its_owner_only_and_its_directory_is_made() {
    let daemon = Daemon::start(Limits::default());
    let mode = std::fs::metadata(&daemon.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_client_gets_the_reply_as_it_was_given() {
    let daemon = Daemon::start(Limits::default());
    let reply = client::ask(&daemon.path, &Command::SaList {}, PATIENCE).unwrap();
    assert_eq!(reply, "{\"sas\":[]}");
}

#[test]
fn one_connection_carries_many_requests() {
    let daemon = Daemon::start(Limits::default());
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    let request = Command::SaList {}.encode();
    stream.write_all(request.repeat(1000).as_bytes()).unwrap();
    let answers: Vec<_> = BufReader::new(stream).lines().take(1000).map(Result::unwrap).collect();
    assert_eq!(answers.len(), 1000);
    assert!(answers.iter().all(|a| a == "{\"version\":1,\"ok\":true,\"reply\":{\"sas\":[]}}"));
}

#[test]
fn a_request_without_end_is_cut_off_and_told_why() {
    let daemon = Daemon::start(Limits::default());
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    stream.write_all(&vec![b'x'; MAX_REQUEST]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"too-long\""), "{answer}");
}

#[test]
fn a_malformed_request_does_not_cost_the_connection() {
    let daemon = Daemon::start(Limits::default());
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    stream.write_all(b"hello\n\xff\n").unwrap();
    stream.write_all(Command::SaList {}.encode().as_bytes()).unwrap();
    let answers: Vec<_> = BufReader::new(stream).lines().take(3).map(Result::unwrap).collect();
    assert!(answers[0].contains("malformed") && answers[1].contains("malformed"), "{answers:?}");
    assert!(answers[2].contains("\"ok\":true"), "{answers:?}");
}

#[test]
fn idle_clients_make_room_for_new_ones() {
    let daemon = Daemon::start(Limits { clients: 4, ..Limits::default() });
    let mut stalled: Vec<_> = (0..4).map(|_| UnixStream::connect(&daemon.path).unwrap()).collect();
    for _ in 0..100 {
        client::ask(&daemon.path, &Command::SaList {}, PATIENCE).unwrap();
    }
    // The one that had been idle for longest was closed.
    let mut rest = Vec::new();
    stalled[0].read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn when_all_clients_wait_for_an_answer_the_next_is_told_to_come_back() {
    let daemon = Daemon::start(Limits { clients: 2, ..Limits::default() });
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = UnixStream::connect(&daemon.path).unwrap();
            let request = Command::SaDelete { spi: getvpn_ctl::Spi(0xdead) }.encode();
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    // Until both requests have arrived, a new client takes the place of one that still looks idle.
    let refused = (0..1000).find_map(|_| client::ask(&daemon.path, &Command::SaList {}, PATIENCE).err());
    if let Some(error) = refused {
        let ClientError::Refused(fault) = error else { panic!("{error}") };
        assert_eq!(fault.code, FaultCode::Busy);
    }
    drop(waiting);
}

#[test]
fn a_client_that_says_nothing_is_closed_after_a_while() {
    let daemon = Daemon::start(Limits { idle: Duration::from_millis(20), ..Limits::default() });
    let mut stream = UnixStream::connect(&daemon.path).unwrap();
    stream.write_all(b"{\"version\":1,").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

#[test]
fn a_socket_left_behind_is_replaced_and_a_live_one_or_a_file_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gm.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = ControlSocket::bind(&path).unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    drop(first);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn getvpnctl_exits_0_with_a_reply_and_1_with_a_refusal() {
    let daemon = Daemon::start(Limits::default());
    let done = getvpnctl(&daemon.path, &["sa", "delete", "65537"]);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(
        text(&done.stdout),
        "SA 0x00010001 of group finance is deleted here; its peers still have it\n"
    );

    let json = getvpnctl(&daemon.path, &["sa", "delete", "0x10001", "--json"]);
    assert_eq!(text(&json.stdout), "{\"deleted\":\"0x00010001\",\"group\":\"finance\"}\n");

    let refused = getvpnctl(&daemon.path, &["sa", "delete", "0x999"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused.stderr), "getvpnctl: there is no SA 0x00000999\n");

    let json = getvpnctl(&daemon.path, &["--json", "sa", "delete", "0x999"]);
    assert_eq!(json.status.code(), Some(1));
    let error: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(error["error"]["code"], "not-found");
}

#[test]
fn getvpnctl_exits_2_for_a_wrong_command_line() {
    let nowhere = Path::new("/nonexistent/gm.sock");
    for arguments in
        [&["sa", "show"][..], &["sa", "show", "x"], &["reboot"], &[], &["status", "--timeout", "0"]]
    {
        assert_eq!(getvpnctl(nowhere, arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn getvpnctl_exits_3_and_says_why_when_there_is_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let says = |path: &Path, arguments: &[&str], what: &str| {
        let output = getvpnctl(path, arguments);
        assert_eq!(output.status.code(), Some(3), "{what}");
        assert!(text(&output.stderr).contains(what), "{}", text(&output.stderr));
    };
    says(&dir.path().join("missing.sock"), &["status"], "no such socket");

    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    says(&stale, &["status"], "nothing answers");

    let mute = dir.path().join("mute.sock");
    let listener = UnixListener::bind(&mute).unwrap();
    says(&mute, &["status", "--timeout", "1"], "no answer within 1s");

    let odd = dir.path().join("odd.sock");
    let other = UnixListener::bind(&odd).unwrap();
    let server = thread::spawn(move || {
        for answer in [&b"SSH-2.0-OpenSSH\n"[..], b"", b"{\"version\":1,\"ok\":true,\"reply\":{}}\n"] {
            let (mut stream, _) = other.accept().unwrap();
            let mut request = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
    says(&odd, &["status"], "no answer of a getvpn daemon");
    says(&odd, &["status"], "closed the connection without an answer");
    says(&odd, &["status"], "missing field `role`");
    server.join().unwrap();
    drop(listener);
}
