//! What is logged: changed while a daemon runs, and taken back by itself after a time. Called by control threads.

use getvpn_ctl::reply::LogLevel;
use getvpn_ctl::{Fault, FaultCode};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// The longest that another level is kept by itself.
pub const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Now.
    pub now: String,
    /// At the daemon's start.
    pub at_start: String,
    /// When it will be again what it was at the start.
    pub until: Option<Instant>,
}

struct Filter {
    level: Level,
    /// Puts another filter in force.
    put: Put,
    /// Counts the changes, so that who waits to take one back sees that there is another.
    changes: u64,
}

static FILTER: Mutex<Option<Filter>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

/// Puts a filter in force.
pub(crate) type Put = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send>;

/// Logging has begun, with this level.
pub(crate) fn begun(level: &str, put: Put) {
    let level = Level { now: level.to_owned(), at_start: level.to_owned(), until: None };
    *lock() = Some(Filter { level, put, changes: 0 });
}

/// What is logged, once it has been started.
#[must_use]
pub fn level() -> Option<Level> {
    lock().as_ref().map(|filter| filter.level.clone())
}

/// Logs something else from now on; with `lasting`, at most [`LONGEST`], what was logged at the start again after that
/// time.
///
/// # Errors
/// When the level is none, or nothing is logged yet.
pub fn set(level: &str, lasting: Option<Duration>) -> Result<Level, String> {
    let filter = parse(level).map_err(|e| format!("{level:?}: {e}"))?;
    let mut guard = lock();
    let Some(logging) = guard.as_mut() else { return Err("nothing is logged yet".to_owned()) };
    (logging.put)(filter)?;
    logging.changes += 1;
    logging.level.now = level.to_owned();
    let lasting = lasting.map(|lasting| lasting.min(LONGEST));
    logging.level.until = lasting.map(|lasting| Instant::now() + lasting);
    let (set, mine) = (logging.level.clone(), logging.changes);
    drop(guard);
    // Whoever waits for the end of an earlier change need not wait for it any longer.
    CHANGED.notify_all();
    if let Some(lasting) = lasting {
        // A thread of its own, so that neither daemon has to think of it; there is never more than one that waits.
        let waits =
            thread::Builder::new().name("log-level".into()).spawn(move || revert_after(lasting, mine));
        if let Err(error) = waits {
            return Err(format!("it is in force, but nobody takes it back: {error}"));
        }
    }
    Ok(set)
}

/// The reply to `log level`: shows what is logged, or changes it.
///
/// # Errors
/// When it cannot be.
pub fn answer(level: Option<&str>, for_s: Option<u32>, now: Instant) -> Result<LogLevel, Fault> {
    let invalid = |text: String| Fault::new(FaultCode::InvalidArgument, format!("log level: {text}"));
    let Some(wanted) = level else {
        if for_s.is_some() {
            return Err(invalid("`for_s` needs a `level`".to_owned()));
        }
        let level = self::level().ok_or_else(|| Fault::new(FaultCode::Internal, "nothing is logged"))?;
        return Ok(shown(level, now));
    };
    let lasting = for_s.map(|s| Duration::from_secs(s.into()));
    if lasting.is_some_and(|lasting| lasting.is_zero() || lasting > LONGEST) {
        return Err(invalid(format!("`for_s` is from 1 to {} seconds", LONGEST.as_secs())));
    }
    let level = set(wanted, lasting).map_err(invalid)?;
    tracing::info!(event = "log_level", level = %wanted, "what is logged is {wanted} now");
    Ok(shown(level, now))
}

fn shown(level: Level, now: Instant) -> LogLevel {
    let left = level.until.map(|until| until.saturating_duration_since(now).as_secs());
    LogLevel { level: level.now, at_start: level.at_start, reverts_in_s: left }
}

/// Takes change number `mine` back after a time, unless there has been another.
fn revert_after(lasting: Duration, mine: u64) {
    let still = |filter: &mut Option<Filter>| filter.as_ref().is_some_and(|filter| filter.changes == mine);
    let waited = CHANGED.wait_timeout_while(lock(), lasting, still);
    let (mut guard, _) = waited.unwrap_or_else(PoisonError::into_inner);
    if !still(&mut guard) {
        return;
    }
    let Some(logging) = guard.as_mut() else { return };
    // It was parsed at the start.
    let Ok(filter) = parse(&logging.level.at_start) else { return };
    if (logging.put)(filter).is_ok() {
        logging.level.now = logging.level.at_start.clone();
        logging.level.until = None;
        let level = logging.level.now.clone();
        drop(guard);
        tracing::info!(event = "log_level", %level, "what is logged is {level} again");
    }
}

/// A filter. What is neither a level nor names one would be taken for a target by itself, and everything else would be
/// silent: a mistyped level is told instead.
pub(crate) fn parse(level: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let expected = "use error, warn, info, debug, trace or off, or a filter such as info,getvpn_gdoi=debug";
    let is_level = |part: &str| LEVELS.contains(&part.to_ascii_lowercase().as_str());
    let parts: Vec<&str> = level.split(',').map(str::trim).collect();
    let wrong = parts.iter().find(|part| !is_level(part) && !part.contains(['=', '[']));
    match wrong {
        Some(part) => Err(format!("{part:?} is no level; {expected}")),
        None => EnvFilter::try_new(parts.join(",")).map_err(|e| format!("{e}; {expected}")),
    }
}

fn lock() -> MutexGuard<'static, Option<Filter>> {
    FILTER.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_told_and_not_taken_for_a_target() {
        for good in ["info", "DEBUG", "off", "info,getvpn_gm=debug", "warn, getvpn_gdoi=trace"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for wrong in ["inof", "", "info,getvpn_gm", "getvpn_gm=loud"] {
            let said = parse(wrong).expect_err(wrong);
            assert!(said.contains("use error, warn, info"), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_change_is_taken_back_after_its_time_unless_there_is_another() {
        crate::logging::start(Some(crate::logging::LogFormat::Text), "warn")
            .expect("nobody else has started it");
        assert_eq!(level().expect("started").now, "warn");
        let set_to = set("debug", Some(Duration::from_secs(3600))).expect("a level");
        assert_eq!((&*set_to.now, &*set_to.at_start, set_to.until.is_some()), ("debug", "warn", true));
        assert!(tracing::enabled!(tracing::Level::DEBUG));
        set("error", None).expect("a level");
        assert!(!tracing::enabled!(tracing::Level::WARN));
        set("info", Some(Duration::from_millis(20))).expect("a level");
        let begun = Instant::now();
        while level().expect("started").now != "warn" {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", level());
            thread::yield_now();
        }
        assert_eq!(level().expect("started").until, None);
        assert!(tracing::enabled!(tracing::Level::WARN) && !tracing::enabled!(tracing::Level::INFO));
        assert!(set("loud", None).is_err());
        assert_eq!(level().expect("started").now, "warn");
    }
}
