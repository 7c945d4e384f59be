//! `getvpnctl top`: a live view in the terminal, refreshed once a second. Asks over the control socket what
//! anybody can ask; changes nothing. The terminal is put back as it was however this ends.

mod key_server;
mod member;
mod model;
mod parts;
mod sample;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use getvpn_ctl::client::ClientError;
use model::Model;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use sample::Sample;

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// Standard output is no terminal.
    #[error(
        "top draws on a terminal, and standard output is none; for a script or a log there are `status`, `counters`, \
         `drops`, `runtime`, `sa list` and `sync`, each with --json or --watch SECONDS"
    )]
    NoTerminal,
    /// The daemon cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No signal handler.
    #[error("signals cannot be handled: {0}")]
    Signals(#[from] ctrlc::Error),
    /// The terminal cannot be used.
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

/// How often the daemon is asked.
const PACE: Duration = Duration::from_secs(1);

/// Shows the daemon at `socket` until the user has had enough; each answer may take `limit`.
///
/// # Errors
/// See [`TopError`]. A daemon that goes away meanwhile is none: the view says so and waits for it.
pub fn run(socket: &Path, limit: Duration) -> Result<(), TopError> {
    if !io::stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let mut model = Model::default();
    // Asked first without a view: what is wrong with the socket is said where it can be read afterwards.
    model.take(Ok(Sample::take(socket, limit)?));
    let samples = follow(socket, limit);
    // In the terminal's raw mode Control-C is a key; this is for whoever sends a signal.
    let told = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&told);
    ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed))?;
    // Sets a panic hook that puts the terminal back first.
    let mut terminal = ratatui::try_init()?;
    let ended = (|| loop {
        terminal.draw(|frame| draw(frame, &model))?;
        let key = event::poll(PACE / 10)? && wants_to_end(&event::read()?);
        if key || told.load(Ordering::Relaxed) {
            return Ok(());
        }
        model.take_all(&samples);
    })();
    ratatui::try_restore()?;
    ended
}

/// Asks once a second on a thread that ends with the program.
fn follow(socket: &Path, limit: Duration) -> mpsc::Receiver<Result<Sample, String>> {
    let (sender, samples) = mpsc::sync_channel(1);
    let socket = socket.to_owned();
    thread::spawn(move || {
        let mut due = Instant::now() + PACE;
        loop {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due = (due + PACE).max(Instant::now());
            if sender.send(Sample::take(&socket, limit).map_err(|e| e.to_string())).is_err() {
                return;
            }
        }
    });
    samples
}

impl Model {
    fn take_all(&mut self, samples: &mpsc::Receiver<Result<Sample, String>>) {
        while let Ok(sample) = samples.try_recv() {
            self.take(sample);
        }
    }
}

/// q, Escape or Control-C.
fn wants_to_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// The whole view.
fn draw(frame: &mut Frame<'_>, model: &Model) {
    let Some(sample) = model.sample() else { return };
    match sample.status.role.as_str() {
        "ks" => key_server::draw(frame, model, sample),
        _ => member::draw(frame, model, sample),
    }
}
