//! Traffic selectors as they are written in a configuration. Control thread, at the start; no I/O.

use super::error::ConfigError;
use super::reader::{Section, Value};
use getvpn_dataplane::{ANY_PORT, Ports, Prefix, Selector};
use std::net::IpAddr;

/// The keys of a selector.
pub(super) const KEYS: [&str; 5] = ["src", "dst", "protocol", "src_port", "dst_port"];

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
pub(super) fn read(section: &Section<'_>) -> Result<Selector, ConfigError> {
    const WHAT: &str = "a prefix such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
    let src = prefix(&section.need("src", WHAT)?, WHAT)?;
    let dst_value = section.need("dst", WHAT)?;
    let dst = prefix(&dst_value, WHAT)?;
    if src.is_ipv4() != dst.is_ipv4() {
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

fn prefix(value: &Value<'_>, what: &str) -> Result<Prefix, ConfigError> {
    let text = value.string(what)?;
    let (address_text, length_text) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address_text
        .parse()
        .map_err(|_| value.error(format!("{address_text:?} is no IP address; expected {what}")))?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match length_text {
        None => bits,
        Some(digits) => match digits.parse::<u8>() {
            Ok(length) if length <= bits && digits.bytes().all(|b| b.is_ascii_digit()) => length,
            _ => {
                let problem = format!("{digits:?} is no prefix length; expected a number from 0 to {bits}");
                return Err(value.error_within(address_text.len() + 1, problem));
            }
        },
    };
    let Some(truncated) = Prefix::truncated(address, length) else {
        return Err(value.error(format!("{text:?} is no prefix; expected {what}")));
    };
    if truncated.address() != address {
        let problem = format!("{text} has bits set behind its /{length}; the prefix would be {truncated}");
        return Err(value.error(problem));
    }
    Ok(truncated)
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
