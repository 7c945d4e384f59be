//! Where log lines go and how they look. Set up once, before anything is logged. Workers never log.

use crate::level;
use std::io::{self, IsTerminal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, reload};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people, to standard error.
    Text,
    /// One JSON object a line, with a stable `event` name, to standard error.
    Json,
    /// To the journal of systemd, each field as one of its own: `GETVPN_EVENT=registered`.
    Journald,
}

/// Begins to log. Without a format, to the journal where standard error goes there (systemd says so in
/// `JOURNAL_STREAM`), and as text to standard error elsewhere.
///
/// # Errors
/// When the level is none, there is no journal though it was asked for, or this was called before.
pub fn start(format: Option<LogFormat>, level: &str) -> Result<(), String> {
    let filter = level::parse(level).map_err(|e| format!("--log-level or GETVPN_LOG {level:?}: {e}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let layer = match format {
        Some(LogFormat::Text) => text().boxed(),
        Some(LogFormat::Json) => {
            let json = fmt::layer().json().flatten_event(true).with_current_span(false);
            json.with_writer(io::stderr).boxed()
        }
        Some(LogFormat::Journald) => journal()
            .map_err(|e| {
                format!("--log-format journald: no journal takes log lines here: {e}; use text or json")
            })?
            .boxed(),
        None if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) => match journal() {
            Ok(journal) => journal.boxed(),
            Err(_) => text().boxed(),
        },
        None => text().boxed(),
    };
    tracing_subscriber::registry().with(layer).with(filter).try_init().map_err(|e| e.to_string())?;
    level::begun(level, Box::new(move |filter| handle.reload(filter).map_err(|e| e.to_string())));
    Ok(())
}

fn text<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fmt::layer().with_target(false).with_ansi(io::stderr().is_terminal()).with_writer(io::stderr)
}

fn journal() -> io::Result<tracing_journald::Layer> {
    Ok(tracing_journald::layer()?.with_field_prefix(Some("GETVPN".to_owned())))
}

/// Whether the stream that systemd names by device and inode is standard error: it stays in the environment of
/// whatever a service starts, wherever that sends its standard error.
fn is_journal(stream: Option<&str>) -> bool {
    let named = || {
        let (device, inode) = stream?.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    };
    let ours = rustix::fs::fstat(io::stderr()).map(|stat| (stat.st_dev, stat.st_ino));
    named().is_some_and(|named| ours == Ok(named))
}

#[cfg(test)]
mod tests {
    use super::is_journal;
    use std::io;

    #[test]
    fn the_journal_is_where_standard_error_goes_and_systemd_says_so() {
        let stat = rustix::fs::fstat(io::stderr()).expect("standard error");
        let (device, inode) = (stat.st_dev, stat.st_ino);
        assert!(is_journal(Some(&format!("{device}:{inode}"))));
        for other in [None, Some(String::new()), Some("8:a".into()), Some(format!("{device}:{}", inode + 1))]
        {
            assert!(!is_journal(other.as_deref()), "{other:?}");
        }
    }
}
