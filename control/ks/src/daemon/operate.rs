//! What an operator changes of the running daemon itself, for the replies to `log level`. Authority thread.

use getvpn_config::level::{self, Level};
use getvpn_ctl::reply::LogLevel;
use getvpn_ctl::{Fault, FaultCode};
use std::time::{Duration, Instant};
use tracing::info;

/// Shows what is logged, or changes it.
///
/// # Errors
/// When it cannot be.
pub(super) fn log_level(level: Option<&str>, for_s: Option<u32>, now: Instant) -> Result<LogLevel, Fault> {
    let invalid = |text: String| Fault::new(FaultCode::InvalidArgument, format!("log level: {text}"));
    let Some(wanted) = level else {
        if for_s.is_some() {
            return Err(invalid("`for_s` needs a `level`".to_owned()));
        }
        let level = level::level().ok_or_else(|| Fault::new(FaultCode::Internal, "nothing is logged"))?;
        return Ok(shown(level, now));
    };
    let lasting = for_s.map(|s| Duration::from_secs(s.into()));
    if lasting.is_some_and(|lasting| lasting.is_zero() || lasting > level::LONGEST) {
        return Err(invalid(format!("`for_s` is from 1 to {} seconds", level::LONGEST.as_secs())));
    }
    let level = level::set(wanted, lasting).map_err(invalid)?;
    info!(event = "log_level", level = %wanted, "what is logged is {wanted} now");
    Ok(shown(level, now))
}

fn shown(level: Level, now: Instant) -> LogLevel {
    let left = level.until.map(|until| until.saturating_duration_since(now).as_secs());
    LogLevel { level: level.now, at_start: level.at_start, reverts_in_s: left }
}
