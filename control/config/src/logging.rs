//! Where log lines go and how they look. Set up once, before anything is logged. Workers never log.

use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, with a stable `event` name.
    Json,
}

/// Sends log lines to standard error.
///
/// # Errors
/// When the level is none, or this was called before.
pub fn start(format: LogFormat, level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|e| {
        format!("--log-level or GETVPN_LOG {level:?}: {e}; use error, warn, info, debug or trace")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_target(false).with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|e| e.to_string())
}
