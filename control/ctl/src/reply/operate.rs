//! What running daemons are told by their operators: the replies to `log level` and `reset counters`, and what a reset
//! makes of counters.

use super::{Counters, PortCounters, Totals};
use serde::{Deserialize, Serialize};

/// The reply to `log level`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevel {
    /// What is logged now: a level, or a filter.
    pub level: String,
    /// What was at the daemon's start.
    pub at_start: String,
    /// Seconds until it is that again.
    pub reverts_in_s: Option<u64>,
}

/// The reply to `reset counters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersReset {
    /// How long they had been counting, in seconds.
    pub counted_s: u64,
}

impl Counters {
    /// What has been counted since `before`. What was held then counts as received since, so that everything received
    /// is still accounted for: `rx = decrypted + encrypted + bypassed + to_exception + parked + drops`.
    #[must_use]
    pub fn since(&self, before: &Counters) -> Counters {
        let mut since = self.clone();
        since.total = self.total.since(&before.total);
        for (name, n) in &mut since.key_server {
            // What there is at a moment is not counted.
            if !name.ends_with("-now") {
                *n = n.saturating_sub(before.key_server.get(name).copied().unwrap_or_default());
            }
        }
        for (port, before) in since.ports.iter_mut().zip(&before.ports) {
            *port = port.since(before);
        }
        if let (Some(per), Some(before)) = (&mut since.per, &before.per) {
            for (each, before) in per.iter_mut().zip(before) {
                each.counters = each.counters.since(&before.counters);
            }
        }
        since.reasons.retain(|name, _| {
            since.total.drops.get(name).is_some_and(|&n| n > 0) || since.key_server.contains_key(name)
        });
        since
    }
}

impl Totals {
    fn since(&self, before: &Totals) -> Totals {
        let drops = self.drops.iter().map(|(reason, n)| {
            let before = before.drops.get(reason).copied().unwrap_or_default();
            (reason.clone(), n.saturating_sub(before))
        });
        Totals {
            rx: self.rx.saturating_sub(before.rx.saturating_sub(before.parked)),
            rx_octets: self.rx_octets.saturating_sub(before.rx_octets),
            tx: self.tx.saturating_sub(before.tx),
            tx_octets: self.tx_octets.saturating_sub(before.tx_octets),
            decrypted: self.decrypted.saturating_sub(before.decrypted),
            encrypted: self.encrypted.saturating_sub(before.encrypted),
            bypassed: self.bypassed.saturating_sub(before.bypassed),
            to_exception: self.to_exception.saturating_sub(before.to_exception),
            from_exception: self.from_exception.saturating_sub(before.from_exception),
            parked: self.parked,
            released: self.released.saturating_sub(before.released),
            fragments: self.fragments.saturating_sub(before.fragments),
            icmp: self.icmp.saturating_sub(before.icmp),
            punts: self.punts.saturating_sub(before.punts),
            punts_suppressed: self.punts_suppressed.saturating_sub(before.punts_suppressed),
            implausible: self.implausible.saturating_sub(before.implausible),
            punts_lost: self.punts_lost.saturating_sub(before.punts_lost),
            drops: drops.collect(),
        }
    }
}

impl PortCounters {
    fn since(&self, before: &PortCounters) -> PortCounters {
        PortCounters {
            rx_missed: self.rx_missed.saturating_sub(before.rx_missed),
            rx_errors: self.rx_errors.saturating_sub(before.rx_errors),
            rx_no_buffer: self.rx_no_buffer.saturating_sub(before.rx_no_buffer),
            tx_errors: self.tx_errors.saturating_sub(before.tx_errors),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What a daemon may have counted: everything received ended somewhere.
    fn totals(verdicts: [u32; 3], parked: u32, drops: [u32; 2]) -> Totals {
        let [decrypted, encrypted, bypassed] = verdicts.map(u64::from);
        let drops: BTreeMap<_, _> =
            ["no_sa", "policy"].map(str::to_owned).into_iter().zip(drops.map(u64::from)).collect();
        let rx = decrypted + encrypted + bypassed + u64::from(parked) + drops.values().sum::<u64>();
        Totals { rx, decrypted, encrypted, bypassed, parked: parked.into(), drops, ..Totals::default() }
    }

    fn accounted(totals: &Totals) -> u64 {
        totals.decrypted
            + totals.encrypted
            + totals.bypassed
            + totals.parked
            + totals.drops.values().sum::<u64>()
    }

    proptest! {
        #[test]
        fn since_a_reset_everything_received_is_accounted_for(
            first: [u32; 3], parked: u32, drops: [u32; 2], more: [u16; 3], parked_now: u32, more_drops: [u16; 2]
        ) {
            let before = totals(first, parked, drops);
            let grown = |a: u32, b: u16| a.saturating_add(b.into());
            let verdicts = std::array::from_fn(|i| grown(first[i], more[i]));
            let after = totals(verdicts, parked_now, std::array::from_fn(|i| grown(drops[i], more_drops[i])));
            // A frame that was held does not vanish.
            prop_assume!(after.rx >= before.rx);
            let since = after.since(&before);
            prop_assert_eq!(since.rx, accounted(&since));
            prop_assert_eq!(since.parked, after.parked);
        }
    }

    #[test]
    fn what_there_is_at_a_moment_is_not_counted_from_a_reset() {
        let counters = |established, now| Counters {
            key_server: BTreeMap::from([
                ("established".into(), established),
                ("established-now".into(), now),
            ]),
            ..Counters::default()
        };
        let since = counters(12, 3).since(&counters(10, 5));
        assert_eq!(since, counters(2, 3));
    }
}
