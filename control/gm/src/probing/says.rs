//! The way of a packet in sentences: what was decided at each step, from what the workers told. A step
//! that is behind a packet has let it pass: the pipelines have one order.

use super::path::{Outcome, Path};
use super::{Around, Clock, Rules};
use crate::sad::Entry;
use getvpn_ctl::Spi;
use getvpn_ctl::reply::{TraceStep, TracedPacket};
use getvpn_dataplane::packet::{Fragment, Version, protocol};
use getvpn_dataplane::probe::{Decision, Event, Heading, IpFacts, Outgoing, Point};
use getvpn_dataplane::{DropReason, ReplayPolicy};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The packet of a path.
pub(super) fn packet(path: &Path, rules: Rules<'_>, around: &Around<'_>, clock: &Clock) -> TracedPacket {
    let mut told = Told { steps: Vec::new(), rules, around };
    let outcome = path.outcome();
    let (worker, link, heading, unix_us) = match path.first() {
        None => (0, String::new(), Heading::In, 0),
        Some(first) => {
            told.way(path, first, outcome);
            (first.worker, told.link(first), first.heading, clock.unix_ns(first) / 1000)
        }
    };
    TracedPacket {
        unix_us,
        worker: worker.into(),
        link,
        direction: match heading {
            Heading::In => "in",
            Heading::Out => "out",
        }
        .into(),
        outcome: match outcome {
            Outcome::Dropped(_) => "dropped",
            Outcome::Left(Outgoing::Decrypted) => "decrypted",
            Outcome::Left(Outgoing::Encrypted) => "encrypted",
            Outcome::Left(Outgoing::Icmp) => "icmp",
            Outcome::Left(Outgoing::Own) => "own",
            Outcome::Left(Outgoing::Bypassed | Outgoing::Fragment) => "bypassed",
            Outcome::Open => "waiting",
        }
        .into(),
        drop: match outcome {
            Outcome::Dropped(reason) => Some(reason.name().into()),
            _ => None,
        },
        steps: told.steps,
    }
}

/// How far inbound ESP came before it was dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Sa,
    Replay,
    Opening,
    Inside,
    Leaving,
}

impl Stage {
    /// Where a packet is dropped for that; `None` when that may be anywhere.
    fn of(reason: DropReason) -> Option<Stage> {
        Some(match reason {
            DropReason::EspTruncated
            | DropReason::UnknownSpi
            | DropReason::SaDirection
            | DropReason::ParkingTimeout
            | DropReason::ParkingFull => Stage::Sa,
            DropReason::ReplayStale | DropReason::ReplayDuplicate | DropReason::ReplaySenders => {
                Stage::Replay
            }
            DropReason::Authentication => Stage::Opening,
            DropReason::EspTrailer
            | DropReason::Dummy
            | DropReason::InnerPacket
            | DropReason::Selectors
            | DropReason::Ecn => Stage::Inside,
            DropReason::TxFull => Stage::Leaving,
            _ => return None,
        })
    }
}

struct Told<'a> {
    steps: Vec<TraceStep>,
    rules: Rules<'a>,
    around: &'a Around<'a>,
}

impl Told<'_> {
    fn say(&mut self, step: &str, says: impl Into<String>) {
        self.steps.push(TraceStep { step: step.into(), says: says.into() });
    }

    fn link(&self, event: &Event) -> String {
        self.around.links.get(usize::from(event.link)).map(|link| link.name.clone()).unwrap_or_default()
    }

    /// The port at one side of the event's link.
    fn port(&self, event: &Event, is_lan: bool) -> String {
        let link = self.around.links.get(usize::from(event.link));
        let (name, device) = link.map_or(("", ""), |l| (&l.name, if is_lan { &l.lan } else { &l.wan }));
        format!("{name} {} ({device})", if is_lan { "LAN" } else { "WAN" })
    }

    fn sa(&self, spi: u32) -> Option<&Entry> {
        self.around.sad.find(spi)
    }

    fn way(&mut self, path: &Path, first: &Event, outcome: Outcome) {
        if first.point == Point::Sent(Outgoing::Icmp) {
            self.say("made", "an ICMP error of the member's own, about a packet that does not fit");
            self.say("parsed", packet_of(first));
            let port = self.port(first, true);
            return self.say("sent", format!("on {port}, {} octets", first.length));
        }
        if first.point == Point::Sent(Outgoing::Own) {
            self.say("made", "by this machine itself, and taken from its exception port");
            self.say("parsed", packet_of(first));
            let port = self.port(first, false);
            return self.say("sent", format!("on {port}, {} octets", first.length));
        }
        let port = self.port(first, first.heading == Heading::Out);
        let joined = match first.frames {
            0 | 1 => String::new(),
            frames => format!(", put together from {frames} fragments"),
        };
        self.say("received", format!("on {port}, {} octets{joined}", first.length));
        self.say("parsed", packet_of(first));
        if first.point == Point::Diverted {
            return self.say("sent", "to this machine itself, by its exception port");
        }
        let is_esp = first.facts.ip.is_some_and(|ip| ip.protocol == protocol::ESP);
        match (first.heading, is_esp) {
            _ if first.facts.ip.is_none() => {}
            (Heading::In, true) => self.inbound(path, first, outcome),
            _ => self.policy(first, outcome),
        }
        if first.heading == Heading::Out {
            self.sealing(path, first);
        }
        if path.events.iter().any(|event| event.point == Point::Held) {
            self.say("waited", "for the other fragments of its datagram, which goes on as the first of them");
        }
        self.leaving(path);
        if let Outcome::Dropped(reason) = outcome {
            self.say(
                "dropped",
                format!("{} \u{2013} {} \u{2013} {}", reason.name(), reason.meaning(), reason.advice()),
            );
        }
        if outcome == Outcome::Open {
            self.say("waiting", "nothing more was told of it: it waits, or went on with another packet");
        }
    }

    /// What policy says of a packet in the clear.
    fn policy(&mut self, first: &Event, outcome: Outcome) {
        let rule = (self.rules)(first.facts.rule);
        let group = rule.and_then(|rule| rule.group).map(|place| self.around.sad.name_of(place).to_owned());
        let rule = match &group {
            Some(group) => format!("rule {}: group {group}", first.facts.rule),
            None => format!("rule {}: a [[policy]]", first.facts.rule),
        };
        let says = match first.point {
            Point::Arrived(decision) => match decision {
                Decision::None | Decision::KnownSpi | Decision::UnknownSpi => return,
                Decision::NoRule => "no rule is for it: it crosses unchanged".to_owned(),
                Decision::Exempt => format!("{rule} exempts it: it crosses unchanged"),
                Decision::Drop => format!("{rule} drops it"),
                Decision::Protect => format!("{rule} protects it"),
                Decision::NoSaClosed => {
                    format!("{rule} protects it, has no SA to send with, and fails closed")
                }
                Decision::NoSaOpen => {
                    format!(
                        "{rule} protects it, has no SA to send with, and fails open: it crosses in the clear"
                    )
                }
                Decision::ReceiveOnly => format!("{rule} only receives (`enforce`): it crosses in the clear"),
                Decision::MustBeEncrypted => format!("{rule} takes it only when it comes encrypted"),
                Decision::MayBeClear => format!("{rule} takes it in the clear too"),
            },
            // Met when it was dropped, for a reason that may be before policy or behind.
            _ if first.facts.rule > 0 => rule,
            _ => match outcome {
                Outcome::Left(Outgoing::Bypassed) => "no rule is for it: it crosses unchanged".to_owned(),
                _ => return,
            },
        };
        self.say("policy", says);
    }

    /// The SA that a packet is sealed with.
    fn sealing(&mut self, path: &Path, first: &Event) {
        let is_sealed = |event: &&Event| event.point == Point::Sent(Outgoing::Encrypted);
        let sent = path.events.iter().find(is_sealed);
        let decided = !matches!(first.point, Point::Arrived(decision) if decision != Decision::Protect);
        let spi = sent.map_or(first.facts.spi, |sent| sent.facts.spi);
        if spi == 0 || !decided {
            return;
        }
        let numbers = sent.map(|sent| self.numbers(sent)).unwrap_or_default();
        let says = format!("{}{numbers}", self.sa_name(spi));
        self.say("sa", says);
        if sent.is_some() {
            self.say("sealed", "encrypted and authenticated");
        }
    }

    fn sa_name(&self, spi: u32) -> String {
        match self.sa(spi) {
            None => format!("SPI {}", Spi(spi)),
            Some(entry) => {
                let group = self.around.sad.group_name(&entry.sa);
                let (transform, mode) = (entry.sa.transform(), entry.sa.mode());
                format!("SA {} of group {group}, {transform}, {mode} mode", Spi(spi))
            }
        }
    }

    /// Sequence number and sender, as the packet itself says them.
    fn numbers(&self, event: &Event) -> String {
        let mut says = format!(", sequence number {}", event.facts.sequence);
        if let Some(entry) = self.sa(event.facts.spi)
            && entry.sa.transform().is_counter_mode()
        {
            let counter_bits = 64 - u32::from(entry.sid_bits);
            let counter = event.facts.iv & u64::MAX.checked_shr(u32::from(entry.sid_bits)).unwrap_or(0);
            let sender = event.facts.iv.checked_shr(counter_bits).unwrap_or(0);
            says.push_str(&format!(", sender ID {sender}, counter {counter}"));
        }
        says
    }

    /// The way of ESP from the WAN.
    fn inbound(&mut self, path: &Path, first: &Event, outcome: Outcome) {
        let waited = path.events.iter().any(|event| event.point == Point::Parked);
        let released = path.events.iter().any(|event| event.point == Point::Released);
        let known = match first.point {
            Point::Arrived(decision) => decision == Decision::KnownSpi,
            _ => self.sa(first.facts.spi).is_some(),
        };
        let numbers = self.numbers(first);
        let came = match (known, waited) {
            (true, _) => self.sa_name(first.facts.spi),
            (false, _) => format!("no SA has SPI {}", Spi(first.facts.spi)),
        };
        self.say("sa", format!("{came}{numbers}"));
        if waited || released {
            let then = if released { ", which has come" } else { "" };
            self.say("waited", format!("for its SA{then}"));
        }
        if first.facts.ip.is_some_and(|ip| ip.fragment != Fragment::None) {
            return;
        }
        let stage = match outcome {
            Outcome::Left(Outgoing::Decrypted) => Stage::Leaving,
            Outcome::Dropped(reason) => match Stage::of(reason) {
                Some(stage) => stage,
                None => return,
            },
            _ => return,
        };
        if stage == Stage::Sa {
            return;
        }
        let checked = self.sa(first.facts.spi).map(|entry| entry.sa.replay_policy());
        if stage == Stage::Replay {
            self.say("replay", "refused: see below");
            return;
        }
        self.say(
            "replay",
            match checked {
                Some(ReplayPolicy::None) => "not looked at (`replay = \"none\"`)",
                Some(ReplayPolicy::Counter { .. }) => "window ok",
                Some(ReplayPolicy::Sender { .. }) => "window of its sender ok",
                None => "ok",
            },
        );
        if stage == Stage::Opening {
            return self.say("opened", "authentication failed");
        }
        self.say("opened", "authentic");
        if let Some(sent) = path.events.iter().find(|event| event.point == Point::Sent(Outgoing::Decrypted)) {
            self.say("inside", packet_of(sent));
            self.say("selectors", "those of the SA: ok");
        }
    }

    fn leaving(&mut self, path: &Path) {
        let sent = path.events.iter().filter(|event| matches!(event.point, Point::Sent(_)));
        let sent: Vec<&Event> = sent.collect();
        let Some(first) = sent.first() else { return };
        let port = self.port(first, first.heading == Heading::In);
        let sizes: Vec<String> = sent.iter().take(8).map(|event| event.length.to_string()).collect();
        let more = if sent.len() > 8 { " and so on" } else { "" };
        let says = match sent.len() {
            1 => format!("on {port}, {} octets", sizes.concat()),
            pieces => format!("on {port}, in {pieces} pieces of {}{more} octets", sizes.join(", ")),
        };
        self.say("sent", says);
    }
}

/// A packet in a line: its addresses, protocol, ports and size.
fn packet_of(event: &Event) -> String {
    let Some(ip) = event.facts.ip else {
        return match event.point {
            Point::Dropped(_) => "no packet that can be understood".into(),
            _ => "no IP packet".into(),
        };
    };
    let octets = event.length.saturating_sub(ip.ip_at.into());
    let Some((source, destination)) = addresses(&ip, &event.octets) else {
        return format!("IP, {octets} octets");
    };
    let family = if ip.version == Version::V4 { "IPv4" } else { "IPv6" };
    let name = protocol_name(ip.protocol);
    let carried = match ports(&ip, &event.octets) {
        Some((from, to)) => format!("{name} {from} > {to}"),
        None => name,
    };
    let part = match ip.fragment {
        Fragment::None => "",
        Fragment::First => ", a first fragment",
        Fragment::Later => ", a later fragment",
    };
    format!("{family} {source} > {destination} {carried}, {octets} octets{part}")
}

fn addresses(ip: &IpFacts, octets: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let header = octets.get(usize::from(ip.ip_at)..)?;
    Some(match ip.version {
        Version::V4 => {
            let [source, destination] = [12, 16].map(|at| header.get(at..)?.first_chunk::<4>().copied());
            (Ipv4Addr::from(source?).into(), Ipv4Addr::from(destination?).into())
        }
        Version::V6 => {
            let [source, destination] = [8, 24].map(|at| header.get(at..)?.first_chunk::<16>().copied());
            (Ipv6Addr::from(source?).into(), Ipv6Addr::from(destination?).into())
        }
    })
}

fn ports(ip: &IpFacts, octets: &[u8]) -> Option<(u16, u16)> {
    if ip.fragment == Fragment::Later || !protocol::has_ports(ip.protocol) {
        return None;
    }
    let [a, b, c, d] = *octets.get(usize::from(ip.upper_at)..)?.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::ICMP => "ICMP",
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::ESP => "ESP",
        protocol::AH => "AH",
        protocol::ICMPV6 => "ICMPv6",
        protocol::SCTP => "SCTP",
        _ => return format!("protocol {number}"),
    }
    .into()
}
