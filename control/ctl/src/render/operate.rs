//! `log level` and `reset counters` as sentences.

use super::{duration, sentence};
use crate::reply::{CountersReset, LogLevel};

/// The reply to `log level`.
#[must_use]
pub fn log_level(reply: &LogLevel) -> String {
    let LogLevel { level, at_start, reverts_in_s } = reply;
    sentence(&match reverts_in_s {
        Some(s) => format!("logs {level}, and {at_start} again in {}", duration(*s)),
        None if level == at_start => format!("logs {level}"),
        None => format!("logs {level} until it is told otherwise; at its start it logged {at_start}"),
    })
}

/// The reply to `reset counters`.
#[must_use]
pub fn counters_reset(reply: &CountersReset) -> String {
    let counted = duration(reply.counted_s);
    sentence(&format!(
        "counters and drops start from zero; they had counted for {counted}. Metrics and --summary go on as they were."
    ))
}
