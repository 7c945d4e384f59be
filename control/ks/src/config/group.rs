//! `[[group]]` and `[[group.tek]]`: a group's policy. Read at the daemon's start and on reload.

use super::rekey;
use crate::core::schedule::Timing;
use crate::core::settings::{GroupSettings, TekSettings, TekShape};
use getvpn_config::selector::{self, ANY_PORT, Ports};
use getvpn_config::{ConfigError, Section, Unique, Value, protocol};
use getvpn_gdoi::group::{Direction, EspTransform, GroupAssociatedPolicy, GroupId, Mode, Selector};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

const KEYS: [&str; 9] =
    ["name", "id", "sid_bits", "activation_delay_s", "deactivation_delay_s", "compat", "kek", "rekey", "tek"];
const TEK_KEYS: [&str; 5] = ["transform", "lifetime_s", "mode", "direction", "selectors"];

/// ATD and DTD go as attributes of two octets (RFC 6407 section 5.4).
const DELAYS: RangeInclusive<u32> = 0..=65_535;
const LONGEST_DELAY: Duration = Duration::from_secs(65_535);
const DEFAULT_ACTIVATION_DELAY: Duration = Duration::from_secs(15);
const DEFAULT_DEACTIVATION_DELAY: Duration = Duration::from_secs(30);
const DEFAULT_SID_BITS: u8 = 16;

/// What a datagram can hold, less headers, a Rekey SA with its keys, and a signature.
const POLICY_ROOM: usize = 65_507 - 2_048;
/// What a selector takes: an SA TEK payload with two IPv6 prefixes and its attributes.
const SELECTOR_LEN: usize = 128;
/// What the keys of a Data-Security SA take.
const TEK_KEYS_LEN: usize = 96;

/// Reads every `[[group]]` of a key server that listens there.
pub(super) fn read_all(
    root: &Section<'_>,
    listen: &[SocketAddr],
    warnings: &mut Vec<String>,
) -> Result<Vec<GroupSettings>, ConfigError> {
    let mut groups = Vec::new();
    let mut names = Unique::default();
    let mut ids = Unique::default();
    for section in root.tables("group")? {
        section.only(&KEYS)?;
        let name = section.need("name", "the group's name")?;
        let name_text = name.string("a name")?;
        names.claim(&name, name_text.to_owned(), &format!("a group {name_text:?}"))?;
        let id_value = section.need("id", "the group's number, such as id = 1234")?;
        let id: u32 = id_value.integer(0..=u64::from(u32::MAX), "a group ID of four octets")?;
        ids.claim(&id_value, id, &format!("a group with ID {id}"))?;
        let sid_bits = section.get("sid_bits").map_or(Ok(DEFAULT_SID_BITS), |value| {
            value.choice_of_numbers(&[8, 12, 16], "the bits of a sender ID (RFC 6054 section 3)")
        })?;
        let rekey = rekey::rekey(&section, listen)?;
        let settings = GroupSettings {
            id: GroupId(id),
            name: name_text.to_owned(),
            compat: protocol::compat(&section)?,
            sid_bits,
            gap: delays(&section, rekey.interval * rekey.retransmits, warnings)?,
            kek: rekey::kek(&section, warnings)?,
            rekey,
            teks: teks(&section)?,
        };
        outlives_its_rekey(&section, &settings)?;
        groups.push(settings);
    }
    if groups.is_empty() {
        return Err(root.missing("group", "at least one [[group]] with name, id, kek and [[group.tek]]"));
    }
    Ok(groups)
}

/// ATD and DTD of a group whose rekeys take `reach` from the first copy to the last: whoever gets only that
/// one still sends with the old SA when those that got the first drop it, unless DTD is ATD and `reach`.
fn delays(
    section: &Section<'_>,
    reach: Duration,
    warnings: &mut Vec<String>,
) -> Result<GroupAssociatedPolicy, ConfigError> {
    let (atd, dtd) = (section.get("activation_delay_s"), section.get("deactivation_delay_s"));
    let delay = |value: &Value<'_>| value.seconds(DELAYS, "a delay");
    let activation_delay = atd.as_ref().map_or(Ok(DEFAULT_ACTIVATION_DELAY), delay)?;
    let safe = activation_delay + reach;
    let Some(value) = dtd else {
        return Ok(GroupAssociatedPolicy {
            activation_delay,
            deactivation_delay: safe.clamp(DEFAULT_DEACTIVATION_DELAY, LONGEST_DELAY),
        });
    };
    let deactivation_delay = delay(&value)?;
    let (activation, deactivation) = (activation_delay.as_secs(), deactivation_delay.as_secs());
    if deactivation < activation {
        return Err(value.error(format!(
            "members would drop the old SA after {deactivation} s, while others send with it for {activation} s; \
             make deactivation_delay_s at least activation_delay_s"
        )));
    }
    if deactivation_delay < safe {
        let (reach, safe) = (reach.as_secs(), safe.as_secs());
        let problem = format!(
            "the last copy of a rekey comes {reach} s after the first, and who gets only that one sends with the old \
             SA for another {activation} s: its packets may be lost for some seconds; {safe} or more is safe"
        );
        warnings.push(value.error(problem).to_string());
    }
    Ok(GroupAssociatedPolicy { activation_delay, deactivation_delay })
}

fn teks(section: &Section<'_>) -> Result<Vec<TekSettings>, ConfigError> {
    let mut teks: Vec<TekSettings> = Vec::new();
    let mut lines = Vec::new();
    for section in section.tables("tek")? {
        let tek = tek(&section)?;
        if let Some(same) = teks.iter().position(|other| other.shape == tek.shape) {
            return Err(section.error(format!(
                "the one in line {} is for the same packets in the same way; remove one",
                lines[same]
            )));
        }
        lines.push(section.line());
        teks.push(tek);
    }
    if teks.is_empty() {
        return Err(section.missing("tek", "at least one [[group.tek]] with transform and selectors"));
    }
    // While one generation follows another, a rekey holds both.
    let selectors = teks.iter().map(|tek| tek.shape.selectors.len()).sum::<usize>();
    let len = 2 * (selectors * SELECTOR_LEN + teks.len() * TEK_KEYS_LEN);
    if len > POLICY_ROOM {
        return Err(section.error(format!(
            "{} SAs with {selectors} selectors do not fit a datagram; use fewer, with wider selectors, or several groups",
            teks.len()
        )));
    }
    Ok(teks)
}

fn tek(section: &Section<'_>) -> Result<TekSettings, ConfigError> {
    section.only(&TEK_KEYS)?;
    let transform = section.need("transform", "a transform, such as \"aes-128-gcm\"")?;
    let transform = transform.choice(&EspTransform::ALL.map(|known| (known.name(), known)))?;
    let lifetime = section.need("lifetime_s", "how long an SA lives, such as lifetime_s = 3600")?;
    let lifetime = lifetime.seconds(1..=u32::MAX, "a lifetime")?;
    let mode = section.get("mode").map_or(Ok(Mode::Tunnel), |value| {
        value.choice(&[("tunnel", Mode::Tunnel), ("transport", Mode::Transport)])
    })?;
    let direction = section.get("direction").map_or(Ok(Direction::Symmetric), |value| {
        value.choice(&[
            ("symmetric", Direction::Symmetric),
            ("sender-only", Direction::SenderOnly),
            ("receiver-only", Direction::ReceiverOnly),
        ])
    })?;
    let value = section.need("selectors", "selectors = [{ src = \"...\", dst = \"...\" }]")?;
    let mut selectors = Vec::new();
    for item in value.items()? {
        let section = item.section()?;
        section.only(&selector::KEYS)?;
        let selector = on_wire(&section)?;
        if selectors.contains(&selector) {
            return Err(item.error(format!("{selector} is named twice; remove one")));
        }
        selectors.push(selector);
    }
    if selectors.is_empty() {
        return Err(value.error("empty; give at least one { src = \"...\", dst = \"...\" }"));
    }
    Ok(TekSettings { shape: TekShape { transform, mode, direction, selectors }, lifetime })
}

/// A selector as an SA TEK payload can say it: a single port or any, and 0 means any (RFC 6407 section
/// 5.5.1).
fn on_wire(section: &Section<'_>) -> Result<Selector, ConfigError> {
    let read = selector::read(section)?;
    let refused = |key: &str, problem: &str| {
        section.get(key).map_or_else(|| section.error(problem), |value| value.error(problem))
    };
    if read.protocol == Some(0) {
        return Err(refused("protocol", "0 means any protocol in GDOI; remove the key to say that"));
    }
    let port = |key: &str, ports: Ports| match ports {
        ANY_PORT => Ok(None),
        (0, 0) => Err(refused(key, "0 means any port in GDOI; remove the key to say that")),
        (low, high) if low == high => Ok(Some(low)),
        _ => Err(refused(
            key,
            "GDOI knows single ports only; give one, or a selector for each, or none for all",
        )),
    };
    Ok(Selector {
        src: read.src,
        dst: read.dst,
        protocol: read.protocol,
        src_port: port("src_port", read.src_port)?,
        dst_port: port("dst_port", read.dst_port)?,
    })
}

/// An SA must live long enough for its successor to be everywhere before it ends.
fn outlives_its_rekey(section: &Section<'_>, settings: &GroupSettings) -> Result<(), ConfigError> {
    // However few members there are: what pacing adds for many is seen when they are there.
    let least = Timing::new(settings, 0).least_lifetime();
    let least_s = least.as_secs() + u64::from(least.subsec_nanos() > 0);
    let problem = |lifetime: Duration| {
        (lifetime < least).then(|| {
            format!(
                "{} s is too short: with {} retransmits, interval_s = {} and activation_delay_s = {}, \
                 the last member can use its successor only after that; give {least_s} or more",
                lifetime.as_secs(),
                settings.rekey.retransmits,
                settings.rekey.interval.as_secs(),
                settings.gap.activation_delay.as_secs(),
            )
        })
    };
    if let Some(problem) = problem(settings.kek.lifetime) {
        return Err(section.need("kek", "")?.section()?.need("lifetime_s", "")?.error(problem));
    }
    for (tek, section) in settings.teks.iter().zip(section.tables("tek")?) {
        if let Some(problem) = problem(tek.lifetime) {
            return Err(section.need("lifetime_s", "")?.error(problem));
        }
    }
    Ok(())
}
