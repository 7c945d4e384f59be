//! How far members are behind with their acknowledgements. Authority thread.

use super::{Dispatch, Group, Target};
use crate::core::time::ServerTime;
use getvpn_gdoi::member::histogram::Histogram;
use std::time::Duration;

impl Dispatch {
    /// A member has acknowledged what it was sent.
    pub(super) fn took(&mut self, target: &Target, now: ServerTime) {
        if let Some(sent) = target.sent {
            self.acknowledged_after.record(now.since(sent));
        }
    }
}

impl Group {
    /// From the first time that a rekey was sent to a member to its acknowledgement, since the server's start.
    #[must_use]
    pub fn acknowledged_after(&self) -> &Histogram {
        &self.dispatch.acknowledged_after
    }

    /// How many members have been sent a rekey that they are to acknowledge and have not, and how long ago the
    /// first of them was.
    #[must_use]
    pub fn unacknowledged(&self, now: ServerTime) -> (usize, Duration) {
        let sent = || self.dispatch.targets.values().filter(|target| target.counts).filter_map(|t| t.sent);
        (sent().count(), sent().min().map_or(Duration::ZERO, |first| now.since(first)))
    }
}
