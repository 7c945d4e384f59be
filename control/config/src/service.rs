//! What a daemon tells the service manager that started it, by the protocol of sd_notify(3): that it is ready, what it
//! is doing, and that it is alive. Without a service manager nothing happens.
//!
//! Never waits, which is why it is not a library: those write to a socket that blocks while the manager is busy. What
//! a full queue does not take is lost, and soon said again.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How often the status is said at most, and looked at without a watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Signs of life for each time that the manager would wait for one: some may be late or lost.
const SIGNS: u32 = 4;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Service {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    every: Duration,
    next: Instant,
    said: String,
}

impl Service {
    /// The one that started this process, by `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    #[must_use]
    pub fn from_environment() -> Self {
        let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&usec| usec > 0 && ours).map(Duration::from_micros);
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| connect(&name).ok());
        Self::new(socket, watchdog, Instant::now())
    }

    fn new(socket: Option<UnixDatagram>, watchdog: Option<Duration>, now: Instant) -> Self {
        let every = watchdog.map_or(STATUS_EVERY, |watchdog| (watchdog / SIGNS).min(STATUS_EVERY));
        Self { socket, watchdog, every, next: now, said: String::new() }
    }

    /// How often [`Service::is_due`] says so; never without a service manager.
    #[must_use]
    pub fn every(&self) -> Option<Duration> {
        self.socket.as_ref().map(|_| self.every)
    }

    /// Whether it is time for a status and a sign of life.
    #[must_use]
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = self.socket.is_some() && now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }

    /// For how long what does the work may be silent before no sign of life is given; none without a watchdog.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// It serves from now on, or again after it has read its configuration.
    pub fn ready(&mut self) {
        self.send("READY=1");
    }

    /// A line for people, said when it is another one.
    pub fn status(&mut self, line: String) {
        if line != self.said && self.send(&format!("STATUS={}", line.replace('\n', " "))) {
            self.said = line;
        }
    }

    /// A sign of life.
    pub fn alive(&mut self) {
        if self.watchdog.is_some() {
            self.send("WATCHDOG=1");
        }
    }

    /// It reads its configuration again; [`Service::ready`] says that it is done.
    pub fn reloading(&mut self) {
        self.send("RELOADING=1");
    }

    /// It is on its way to its end.
    pub fn stopping(&mut self) {
        self.send("STOPPING=1");
    }

    /// Whether it was taken.
    fn send(&self, text: &str) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.send(text.as_bytes()).is_ok())
    }
}

/// A status line: `what`, and each group with its state.
#[must_use]
pub fn status_line<'a>(what: &str, groups: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let groups: Vec<_> = groups.into_iter().map(|(name, state)| format!("{name} {state}")).collect();
    if groups.is_empty() { what.to_owned() } else { format!("{what}; {}", groups.join(", ")) }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager() -> (UnixDatagram, Option<UnixDatagram>) {
        let (theirs, ours) = UnixDatagram::pair().expect("a pair of sockets");
        theirs.set_nonblocking(true).expect("a socket");
        ours.set_nonblocking(true).expect("a socket");
        (theirs, Some(ours))
    }

    fn heard(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 256];
        let n = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
    }

    #[test]
    fn signs_of_life_are_due_four_times_as_often_as_they_must_come() {
        let (manager, socket) = manager();
        let start = Instant::now();
        let mut service = Service::new(socket, Some(Duration::from_secs(2)), start);
        assert!(service.is_due(start));
        assert!(!service.is_due(start + Duration::from_millis(499)));
        assert!(service.is_due(start + Duration::from_millis(500)));
        assert_eq!(service.patience(), Some(Duration::from_secs(1)));
        service.alive();
        assert_eq!(heard(&manager).as_deref(), Some("WATCHDOG=1"));
    }

    #[test]
    fn a_status_is_said_once_and_on_one_line() {
        let (manager, socket) = manager();
        let mut service = Service::new(socket, None, Instant::now());
        service.status("two\nlines".to_owned());
        service.status("two\nlines".to_owned());
        service.alive();
        assert_eq!(heard(&manager).as_deref(), Some("STATUS=two lines"));
        assert_eq!(heard(&manager), None, "neither the same again nor a sign of life that nobody asked for");
    }

    #[test]
    fn a_manager_that_does_not_listen_holds_nobody_up() {
        let (manager, socket) = manager();
        let mut service = Service::new(socket, Some(Duration::from_secs(2)), Instant::now());
        for n in 0..10_000 {
            service.status(n.to_string());
        }
        assert_eq!(heard(&manager).as_deref(), Some("STATUS=0"));
        drop(manager);
        service.ready();
    }

    #[test]
    fn nothing_is_due_without_a_manager() {
        let mut service = Service::new(None, Some(Duration::from_secs(2)), Instant::now());
        assert!(!service.is_due(Instant::now()));
        assert_eq!(service.every(), None);
    }

    #[test]
    fn the_status_line_names_each_group() {
        assert_eq!(status_line("2 workers", []), "2 workers");
        let groups = [("finance", "in-step"), ("ops", "no-sa")];
        assert_eq!(status_line("2 workers", groups), "2 workers; finance in-step, ops no-sa");
    }
}
