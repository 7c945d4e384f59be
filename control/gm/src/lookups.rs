//! What the control socket says of one packet and of one SPI, for the replies to `policy` and `spi`. Control
//! thread; changes nothing.

use crate::answers::selector;
use getvpn_ctl::reply::{AskedIn, PolicyHit, PolicyRule, SaDetail, SpiKnown, UnknownSpi};
use getvpn_ctl::{Fault, FaultCode, Spi};
use getvpn_dataplane::{Enforce, ExplainError, Explained, FiveTuple, Outcome, Plausibility, WithoutSa};

/// The reply to `policy`; `group` gives the names of the groups by their place.
///
/// # Errors
/// When there is no such packet.
pub fn policy_hit<'a>(
    tuple: &FiveTuple,
    explained: Result<Explained, ExplainError>,
    group: impl Fn(usize) -> &'a str,
) -> Result<PolicyHit, Fault> {
    let explained =
        explained.map_err(|error| Fault::new(FaultCode::InvalidArgument, format!("policy: {error}")))?;
    let rule = explained.rule.map(|rule| PolicyRule {
        number: rule.number,
        group: rule.group.map(|place| group(place).to_owned()),
        selector: selector(&rule.selector),
    });
    let name = rule.as_ref().and_then(|rule| rule.group.as_deref()).unwrap_or_default();
    let (to_wan, from_wan, spi, says) = match explained.outcome {
        Outcome::Bypass if rule.is_none() => {
            ("bypassed", "bypassed", None, "no rule is for it: it crosses unchanged".to_owned())
        }
        Outcome::Bypass => {
            ("bypassed", "bypassed", None, "a [[policy]] exempts it: it crosses unchanged".to_owned())
        }
        Outcome::Drop => ("dropped", "dropped", None, "a [[policy]] drops it, as `policy`".to_owned()),
        Outcome::Protect { enforce, without_sa, spi } => protected(name, enforce, without_sa, spi),
    };
    Ok(PolicyHit {
        src: tuple.src,
        dst: tuple.dst,
        protocol: tuple.protocol,
        src_port: tuple.src_port,
        dst_port: tuple.dst_port,
        to_wan: to_wan.into(),
        from_wan_in_the_clear: from_wan.into(),
        spi: spi.map(Spi),
        says,
        rule,
    })
}

fn protected(
    group: &str,
    enforce: Enforce,
    without_sa: WithoutSa,
    spi: Option<u32>,
) -> (&'static str, &'static str, Option<u32>, String) {
    let opens = without_sa == WithoutSa::Bypass && spi.is_none();
    let from_wan = if enforce == Enforce::Both && !opens { "dropped" } else { "bypassed" };
    match (enforce, spi, without_sa) {
        (Enforce::ReceiveOnly, ..) => {
            let says = format!("group {group} only receives: it crosses in the clear (`enforce`)");
            ("bypassed", from_wan, None, says)
        }
        (_, Some(spi), _) => {
            let says = format!("group {group} encrypts it with SA {}", Spi(spi));
            ("encrypted", from_wan, Some(spi), says)
        }
        (_, None, WithoutSa::Drop) => {
            let says = format!(
                "group {group} has no SA to send it with and drops it, as `no_sa`: see `sa list` and `sync`"
            );
            ("dropped", from_wan, None, says)
        }
        (_, None, WithoutSa::Bypass) => {
            let says =
                format!("group {group} has no SA to send it with and fails open: it crosses in the clear");
            ("bypassed", from_wan, None, says)
        }
    }
}

/// The reply to `spi`.
#[must_use]
pub fn spi_known(
    spi: Spi,
    sa: Option<SaDetail>,
    unknown: Option<UnknownSpi>,
    mark: Plausibility,
    asked: Vec<AskedIn>,
) -> SpiKnown {
    let says = match (&sa, asked.last(), &unknown) {
        (Some(sa), ..) => format!("{spi} is an SA of group {}, {}", sa.summary.group, sa.summary.state),
        (None, Some(last), _) => match last.asked.outcome.as_str() {
            "asking" | "registering" => {
                format!("{spi} has no SA; group {} asks its key server for it", last.group)
            }
            "unknown" => format!(
                "{spi} has no SA, and the key server of group {} does not know it: a sender that is out of step, \
                 or a forger",
                last.group
            ),
            outcome => format!("{spi} has no SA; group {} asked for it: {outcome}", last.group),
        },
        (None, None, Some(_)) => {
            format!("{spi} has no SA, packets come with it, and nobody has been asked for it")
        }
        (None, None, None) => format!("{spi} has no SA, and no packet came with it lately"),
    };
    let mark = match mark {
        Plausibility::Plausible => "marked",
        Plausibility::Unverifiable => "cannot-tell",
        Plausibility::Implausible => "not-marked",
    };
    SpiKnown { spi, sa, unknown, mark: mark.into(), asked, says }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_encrypted_says_why_and_what_to_look_at() {
        let tuple = FiveTuple {
            src: "10.0.0.1".parse().expect("an address"),
            dst: "10.0.0.2".parse().expect("an address"),
            protocol: 17,
            src_port: 1,
            dst_port: 2,
        };
        let hit = |outcome| {
            policy_hit(&tuple, Ok(Explained { rule: None, outcome }), |_| "finance").expect("a reply")
        };
        let protect = |enforce, without_sa, spi| hit(Outcome::Protect { enforce, without_sa, spi });
        for (said, to_wan, from_wan, word) in [
            (hit(Outcome::Bypass), "bypassed", "bypassed", "no rule"),
            (hit(Outcome::Drop), "dropped", "dropped", "[[policy]]"),
            (protect(Enforce::Both, WithoutSa::Drop, Some(0x1001)), "encrypted", "dropped", "0x00001001"),
            (protect(Enforce::Both, WithoutSa::Drop, None), "dropped", "dropped", "`no_sa`"),
            (protect(Enforce::Both, WithoutSa::Bypass, None), "bypassed", "bypassed", "fails open"),
            (
                protect(Enforce::InboundOptional, WithoutSa::Drop, Some(9)),
                "encrypted",
                "bypassed",
                "0x00000009",
            ),
            (protect(Enforce::ReceiveOnly, WithoutSa::Drop, Some(9)), "bypassed", "bypassed", "`enforce`"),
        ] {
            assert_eq!(
                (said.to_wan.as_str(), said.from_wan_in_the_clear.as_str()),
                (to_wan, from_wan),
                "{}",
                said.says
            );
            assert!(said.says.contains(word), "{}", said.says);
        }
        let fault = policy_hit(&tuple, Err(ExplainError::Protocol(44)), |_| "").expect_err("no packet");
        assert_eq!(fault.code, FaultCode::InvalidArgument);
    }
}
