//! What policy makes of a packet that people name by its 5-tuple: asked of the very classifier that the
//! workers use. Control thread only.

use std::net::IpAddr;

use crate::packet::parse_ip;
use crate::policy::Action;
use crate::selector::Selector;
use crate::snapshot::Snapshot;
use crate::{Enforce, WithoutSa};

/// A packet as people name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiveTuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address, of the same family.
    pub dst: IpAddr,
    /// Upper-layer protocol number.
    pub protocol: u8,
    /// Source port; 0 for protocols without.
    pub src_port: u16,
    /// Destination port, likewise.
    pub dst_port: u16,
}

/// What policy makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The rule that it hits; none bypasses.
    pub rule: Option<ExplainedRule>,
    /// What becomes of it on its way to the WAN.
    pub outcome: Outcome,
}

/// A rule that a packet hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplainedRule {
    /// Its place among all rules, local ones first, from 1.
    pub number: u32,
    /// Which packets it is for.
    pub selector: Selector,
    /// The group that it protects, by its place; `None` for a local rule.
    pub group: Option<usize>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It crosses unchanged, in both directions.
    Bypass,
    /// It is dropped, in both directions.
    Drop,
    /// A group is for it.
    Protect {
        /// How strictly.
        enforce: Enforce,
        /// What becomes of it without an SA.
        without_sa: WithoutSa,
        /// The SPI of the SA that it would be sealed with.
        spi: Option<u32>,
    },
}

/// Why nothing can be said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// IPv4 on one side and IPv6 on the other.
    #[error("{0} and {1} are not of the same family")]
    Families(IpAddr, IpAddr),
    /// The protocol number is that of an IPv6 extension header, behind which another one would follow.
    #[error("{0} is the number of an extension header, not of an upper-layer protocol")]
    Protocol(u8),
}

impl FiveTuple {
    /// The smallest packet that has it: zeros follow the ports, so that whatever looks at it finds enough.
    fn packet(&self) -> Result<Vec<u8>, ExplainError> {
        const UPPER: u8 = 40;
        let mut packet = match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let head = [0x45, 0, 0, 20 + UPPER, 0, 0, 0, 0, 64, self.protocol, 0, 0];
                [&head[..], &src.octets(), &dst.octets()].concat()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let head = [0x60, 0, 0, 0, 0, UPPER, self.protocol, 64];
                [&head[..], &src.octets(), &dst.octets()].concat()
            }
            (src, dst) => return Err(ExplainError::Families(src, dst)),
        };
        packet.extend(self.src_port.to_be_bytes());
        packet.extend(self.dst_port.to_be_bytes());
        packet.resize(packet.len() + usize::from(UPPER) - 4, 0);
        if self.src.is_ipv4() {
            let sum = crate::packet::checksum::of(&[&packet[..20]]);
            packet[10..12].copy_from_slice(&sum);
        }
        Ok(packet)
    }
}

impl Snapshot {
    /// The rule of that number.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<ExplainedRule> {
        self.policy.rule(number).map(|(selector, group)| ExplainedRule { number, selector, group })
    }

    /// What becomes of a packet.
    ///
    /// # Errors
    /// When there is no such packet.
    pub fn explain(&self, tuple: &FiveTuple) -> Result<Explained, ExplainError> {
        let packet = tuple.packet()?;
        let headers = parse_ip(&packet).ok().filter(|headers| headers.protocol == tuple.protocol);
        let headers = headers.ok_or(ExplainError::Protocol(tuple.protocol))?;
        let number = self.policy.rule_of((&headers, &packet));
        let rule = self.rule(number);
        let outcome = match self.policy.action(number) {
            Action::Bypass => Outcome::Bypass,
            Action::Drop => Outcome::Drop,
            Action::Protect(protect) => Outcome::Protect {
                enforce: protect.enforce,
                without_sa: protect.without_sa,
                spi: protect.sa.as_ref().map(|sa| sa.spi()),
            },
        };
        Ok(Explained { rule, outcome })
    }
}
