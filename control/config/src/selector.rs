//! Traffic selectors as they are written in a configuration. Read at a daemon's start; no I/O.

use crate::error::ConfigError;
use crate::reader::{Section, Value};
use ipnet::IpNet;
use std::net::IpAddr;

/// The keys of a selector.
pub const KEYS: [&str; 5] = ["src", "dst", "protocol", "src_port", "dst_port"];

/// An inclusive range of ports.
pub type Ports = (u16, u16);

/// Every port, and protocols that have none.
pub const ANY_PORT: Ports = (0, u16::MAX);

/// A 5-tuple of ranges. Source and destination are of the same address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Source address.
    pub src: IpNet,
    /// Destination address.
    pub dst: IpNet,
    /// Upper-layer protocol number, or any.
    pub protocol: Option<u8>,
    /// Source port; [`ANY_PORT`] for any, and for protocols without ports.
    pub src_port: Ports,
    /// Destination port, likewise.
    pub dst_port: Ports,
}

/// Protocols by name (IANA protocol numbers), and whether they have ports.
const PROTOCOLS: [(&str, (u8, bool)); 14] = [
    ("icmp", (1, false)),
    ("igmp", (2, false)),
    ("tcp", (6, true)),
    ("udp", (17, true)),
    ("dccp", (33, true)),
    ("gre", (47, false)),
    ("esp", (50, false)),
    ("ah", (51, false)),
    ("icmpv6", (58, false)),
    ("ospf", (89, false)),
    ("pim", (103, false)),
    ("vrrp", (112, false)),
    ("sctp", (132, true)),
    ("udplite", (136, true)),
];

/// Reads the selector keys of a section, which may have others too.
///
/// # Errors
/// When one is missing or wrong.
pub fn read(section: &Section<'_>) -> Result<Selector, ConfigError> {
    const WHAT: &str = "a prefix such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
    let src = prefix(&section.need("src", WHAT)?, WHAT)?;
    let dst_value = section.need("dst", WHAT)?;
    let dst = prefix(&dst_value, WHAT)?;
    if src.max_prefix_len() != dst.max_prefix_len() {
        let problem =
            format!("{dst} and src {src} are of different families; give both in IPv4 or both in IPv6");
        return Err(dst_value.error(problem));
    }
    let protocol = section.get("protocol").map(|value| protocol(&value)).transpose()?;
    let port = |key| match section.get(key) {
        None => Ok(ANY_PORT),
        Some(value) if protocol.is_some_and(has_ports) => ports(&value),
        Some(value) => Err(value.error(match protocol {
            Some(number) => {
                format!("protocol {number} has no ports; remove the key, or give a protocol that has ports")
            }
            None => {
                "a port needs a protocol; add protocol = \"tcp\", \"udp\", \"sctp\", \"dccp\" or \"udplite\""
                    .to_owned()
            }
        })),
    };
    Ok(Selector { src, dst, protocol, src_port: port("src_port")?, dst_port: port("dst_port")? })
}

/// Reads `"10.0.0.0/8"`, or an address alone, which is a prefix of all its bits; `what` says what is
/// expected.
///
/// # Errors
/// When the value is no prefix, or has bits set behind its length.
pub fn prefix(value: &Value<'_>, what: &str) -> Result<IpNet, ConfigError> {
    let text = value.string(what)?;
    let (address_text, length_text) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address_text
        .parse()
        .map_err(|_| value.error(format!("{address_text:?} is no IP address; expected {what}")))?;
    let whole = IpNet::from(address);
    let Some(digits) = length_text else { return Ok(whole) };
    let length = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let Some(prefix) = length.and_then(|length| IpNet::new(address, length).ok()) else {
        let bits = whole.max_prefix_len();
        let problem = format!("{digits:?} is no prefix length; expected a number from 0 to {bits}");
        return Err(value.error_within(address_text.len() + 1, problem));
    };
    if prefix.trunc() != prefix {
        let problem =
            format!("{text} has bits set behind its /{digits}; the prefix would be {}", prefix.trunc());
        return Err(value.error(problem));
    }
    Ok(prefix)
}

fn protocol(value: &Value<'_>) -> Result<u8, ConfigError> {
    if value.is_integer() {
        return value.integer(0..=255, "a protocol number");
    }
    let names: Vec<(&str, u8)> = PROTOCOLS.iter().map(|&(name, (number, _))| (name, number)).collect();
    value.choice(&names).map_err(|mut error| {
        error.problem = error.problem.replacen("expected ", "expected a number from 0 to 255, or ", 1);
        error
    })
}

fn has_ports(protocol: u8) -> bool {
    PROTOCOLS.iter().any(|&(_, (number, ports))| ports && number == protocol)
}

fn ports(value: &Value<'_>) -> Result<Ports, ConfigError> {
    const WHAT: &str = "a port from 0 to 65535 or a range such as \"1024-2047\"";
    if value.is_integer() {
        return value.integer(0..=65535, "a port").map(|port: u16| (port, port));
    }
    let text = value.string(WHAT)?;
    let port = |digits: &str| {
        let number = digits.parse::<u16>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
        number.ok_or_else(|| value.error(format!("{digits:?} is no port; expected {WHAT}")))
    };
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (port(low.trim())?, port(high.trim())?),
        None => (port(text)?, port(text)?),
    };
    if low > high {
        return Err(value.error(format!("the range ends before it starts; write \"{high}-{low}\"")));
    }
    Ok((low, high))
}
