//! Manual SAs as they are written in a configuration: `[[group.sa]]`. Control thread, at the start;
//! no I/O. Never puts a key, or a part of one, into an error.

use super::ManualSa;
use super::{replay, selector};
use getvpn_config::{ConfigError, Section, Value};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{Direction, Mode, SaParams};
use std::time::Duration;
use zeroize::Zeroizing;

const KEYS: [&str; 13] = [
    "spi",
    "transform",
    "key",
    "integrity_key",
    "mode",
    "direction",
    "replay",
    "replay_window",
    "replay_senders",
    "sid",
    "sid_bits",
    "selectors",
    "lifetime_s",
];

const DEFAULT_SID_BITS: u8 = 16;

/// What the checks between SAs need besides the SA.
pub(super) struct ReadSa<'a> {
    pub sa: ManualSa,
    pub spi: Value<'a>,
    pub key: Option<Value<'a>>,
    pub sid: Option<Value<'a>>,
}

/// Reads one `[[group.sa]]`, for a member with `workers` workers.
pub(super) fn read<'a>(
    section: &Section<'a>,
    group: usize,
    workers: usize,
) -> Result<ReadSa<'a>, ConfigError> {
    section.only(&KEYS)?;
    let spi_value = section.need("spi", "the SPI, such as spi = 0x00010001")?;
    let spi: u32 = spi_value.integer(0..=u64::from(u32::MAX), "an SPI")?;
    if spi < 256 {
        let problem = format!("SPI {spi} is reserved (RFC 4303 section 2.1); use 256 (0x00000100) or more");
        return Err(spi_value.error(problem));
    }
    let transform_value = section.need("transform", "a transform, such as \"aes-128-gcm\"")?;
    let names: Vec<_> = Transform::ALL.iter().map(|&t| (t.name(), t)).collect();
    let transform = transform_value.choice(&names)?;

    let key = key(section, "key", transform, transform.key_len())?;
    let integrity_key = key_or_none(section, "integrity_key", transform, transform.integrity_key_len())?;

    let mode = match section.get("mode") {
        Some(value) => value.choice(&[("tunnel", Mode::Tunnel), ("transport", Mode::Transport)])?,
        None => Mode::Tunnel,
    };
    let direction = match section.get("direction") {
        Some(value) => {
            value.choice(&[("in", Direction::In), ("out", Direction::Out), ("both", Direction::Both)])?
        }
        None => Direction::Both,
    };
    let replay = replay::read(section, Some(transform), direction.sends(), workers)?;

    let sid_bits = match section.get("sid_bits") {
        Some(value) => {
            value.choice_of_numbers(&[8, 12, 16], "the bits of a sender ID (RFC 6054 section 3)")?
        }
        None => DEFAULT_SID_BITS,
    };
    let sid_value = section.get("sid");
    let sid = match &sid_value {
        Some(value) => sender_id(value, sid_bits, workers)?,
        None => 0,
    };

    let selectors_value = section.need("selectors", "selectors = [{ src = \"...\", dst = \"...\" }]")?;
    let mut selectors = Vec::new();
    for item in selectors_value.items()? {
        let section = item.section()?;
        section.only(&selector::KEYS)?;
        selectors.push(selector::read(&section)?);
    }
    if selectors.is_empty() {
        return Err(selectors_value.error("empty; give at least one { src = \"...\", dst = \"...\" }"));
    }
    let lifetime = match section.get("lifetime_s") {
        Some(value) => {
            Some(Duration::from_secs(value.integer(1..=u64::from(u32::MAX), "a lifetime in seconds")?))
        }
        None => None,
    };

    let params = SaParams {
        spi,
        group,
        transform,
        key,
        integrity_key,
        mode,
        direction,
        replay,
        sid,
        sid_bits,
        first_counter: 1,
        reserved: 1,
        selectors,
    };
    let sa = ManualSa { params, lifetime };
    Ok(ReadSa { sa, spi: spi_value, key: section.get("key"), sid: sid_value })
}

/// The sender IDs of all workers must fit.
fn sender_id(value: &Value<'_>, sid_bits: u8, workers: usize) -> Result<u32, ConfigError> {
    let sid: u32 = value.integer(0..=(1 << sid_bits) - 1, "a sender ID")?;
    let room = 1_usize << sid_bits;
    let first = usize::try_from(sid).unwrap_or(room);
    if first + workers > room {
        return Err(value.error(format!(
            "{workers} workers would use sender IDs {sid} to {}, and {sid_bits} bits end at {}; use a sid of at most {}",
            first + workers - 1,
            room - 1,
            room.saturating_sub(workers),
        )));
    }
    Ok(sid)
}

/// A key that must be there unless its length is 0.
fn key(
    section: &Section<'_>,
    name: &str,
    transform: Transform,
    octets: usize,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    match section.get(name) {
        Some(value) => hex_key(&value, transform, octets),
        None if octets == 0 => Ok(Zeroizing::new(Vec::new())),
        None => Err(section.missing(name, &format!("{octets} octets in hex{}", made_of(transform, octets)))),
    }
}

/// A key that must not be there when its length is 0.
fn key_or_none(
    section: &Section<'_>,
    name: &str,
    transform: Transform,
    octets: usize,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    match section.get(name) {
        Some(value) if octets == 0 && !value.text("hex digits in quotes")?.is_empty() => Err(value.error(
            format!("{} authenticates by itself and takes no integrity key; remove it", transform.name()),
        )),
        Some(_) | None => key(section, name, transform, octets),
    }
}

/// Two hexadecimal digits an octet; spaces and colons may stand between octets.
fn hex_key(
    value: &Value<'_>,
    transform: Transform,
    octets: usize,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let text = value.text("hex digits in quotes")?;
    // Room for all at once, so that no half-read key is left behind in freed memory.
    let mut key = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let mut half: Option<u8> = None;
    for (at, c) in text.char_indices() {
        let digit = c.to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (digit, half) {
            (Some(high), None) => half = Some(high),
            (Some(low), Some(high)) => {
                key.push(high << 4 | low);
                half = None;
            }
            (None, None) if c == ':' || c == ' ' => {}
            (None, Some(_)) if c == ':' || c == ' ' => {
                return Err(value.error_within(at, "an octet ends here after one hex digit; each has two"));
            }
            (None, _) => {
                return Err(value.error_within(
                    at,
                    "no hex digit; use 0-9 and a-f, with spaces or colons between octets",
                ));
            }
        }
    }
    let needs = || format!("{} takes {octets} octets{}", transform.name(), made_of(transform, octets));
    if half.is_some() {
        return Err(value.error(format!("an odd number of hex digits, {}; {}", key.len() * 2 + 1, needs())));
    }
    if key.len() != octets {
        return Err(value.error(format!("{} octets; {}", key.len(), needs())));
    }
    Ok(key)
}

/// How a key is put together, where it is not just the key.
fn made_of(transform: Transform, octets: usize) -> String {
    match octets {
        20 | 36 if transform.is_counter_mode() => format!(": the key of {}, then the salt of 4", octets - 4),
        _ => String::new(),
    }
}
