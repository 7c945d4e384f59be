//! From an SA that a key server gave to one that workers use. An SA that is there is kept as long as it is
//! the same, with its counters and its replay windows: only its sender IDs are renewed. Control thread.

use crate::keys::Keys;
use crate::reserve::Fingerprint;
use crate::sad::{Entry, Served, Source};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{ANY_PORT, Direction, Mode, Prefix, ReplayPolicy, Sa, SaParams, Selector};
use getvpn_gdoi::crypto::{Random, Secret};
use getvpn_gdoi::group::{self, SenderIds, TekPolicy};
use getvpn_gdoi::member::sad::{SaEntry, SenderUse};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Instant;
use zeroize::Zeroizing;

/// The width of sender IDs where none are known.
const SID_BITS: u8 = 16;
/// The width of the random ones of transforms that need none: they only have to differ.
const RANDOM_SID_BITS: u8 = 32;
/// A counter behind every end: nothing is sealed before there is a sender ID.
const NO_COUNTER: u64 = u64::MAX;

/// What is the same for all SAs of a group.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) group: usize,
    pub(super) workers: usize,
    pub(super) replay: ReplayPolicy,
    /// How wide the group's sender IDs were last.
    pub(super) sid_bits: Option<u8>,
}

/// An SA in the data plane's terms, and what had to be done for it.
pub(super) struct Made {
    pub(super) entry: Entry,
    /// Whether workers have not had it before.
    pub(super) is_new: bool,
    /// It was sealed with before and nobody knows how far: it needs other sender IDs.
    pub(super) needs_sender_ids: bool,
}

impl Maker {
    /// Makes the SA, out of what there was of it `before`, if that is still good.
    pub(super) fn make(
        &mut self,
        new: &SaEntry,
        key_server: SocketAddr,
        before: Option<Entry>,
        now: Instant,
        random: &mut dyn Random,
    ) -> Result<Made, String> {
        let ids = match &new.sender {
            SenderUse::Fresh(ids) | SenderUse::Resumed(ids) => Some(ids),
            SenderUse::NotNeeded | SenderUse::Missing => None,
        };
        self.sid_bits = ids.map(|ids| ids.bits).or(self.sid_bits);
        let params = self.params(new, ids)?;
        let keys = Fingerprint::of(&Secret::concat(&[&new.keys.cipher, &new.keys.integrity]));
        let kept = before.filter(|entry| is_same(entry, &params, &keys));
        let is_new = kept.is_none();
        let (sa, old) = match kept {
            Some(entry) => (entry.sa, entry.served.map(|served| (served, entry.installed))),
            None => {
                let sids = vec![0; self.workers];
                (Sa::with_sender_ids(&params, &sids).map_err(|e| e.to_string())?, None)
            }
        };
        let mut served = Served { revision: new.revision, keys, ids: Vec::new(), exhausted: false };
        let mut unchanged = false;
        if let Some((old, installed)) = old {
            unchanged = (old.revision, installed) == (new.revision, new.installed);
            served.exhausted = old.exhausted && (unchanged || new.sender == SenderUse::Missing);
            served.ids = old.ids;
        }
        match &new.sender {
            SenderUse::NotNeeded if served.ids.is_empty() => {
                served.ids = random_ids(self.workers, random);
                renew(&sa, &served.ids)?;
            }
            // Never used with these keys, so whoever has used up another one may begin with it.
            SenderUse::Fresh(ids) if !unchanged && ids.values != served.ids => {
                served.ids.clone_from(&ids.values);
                renew(&sa, &served.ids)?;
            }
            _ => {}
        }
        // Sealed with before, and nobody knows how far.
        let needs_sender_ids = matches!(new.sender, SenderUse::Resumed(_)) && served.ids.is_empty();
        let entry = Entry {
            keys: Keys::of(&params),
            source: Source::KeyServer(key_server),
            state: new.state(now),
            receives: new.receives(),
            sends: new.sends && !needs_sender_ids,
            sid_bits: params.sid_bits,
            installed: new.installed,
            expires: Some(new.expires),
            served: Some(served),
            sa,
        };
        Ok(Made { entry, is_new, needs_sender_ids })
    }

    fn params(&self, new: &SaEntry, ids: Option<&SenderIds>) -> Result<SaParams, String> {
        let TekPolicy { spi, transform, mode, direction, selectors, lifetime: _ } = &new.policy;
        let name = transform.name();
        let transform: Transform = name.parse().map_err(|_| format!("the data plane has no {name}"))?;
        let counter = transform.is_counter_mode();
        let known_bits = ids.map(|ids| ids.bits).or(self.sid_bits);
        let replay = match self.replay {
            // Only those IVs tell the sender.
            ReplayPolicy::Sender { .. } if !counter || known_bits.is_none() => ReplayPolicy::None,
            other => other,
        };
        Ok(SaParams {
            spi: spi.0,
            group: self.group,
            transform,
            key: Zeroizing::new(new.keys.cipher.to_vec()),
            integrity_key: Zeroizing::new(new.keys.integrity.to_vec()),
            mode: match mode {
                group::Mode::Tunnel => Mode::Tunnel,
                group::Mode::Transport => Mode::Transport,
            },
            direction: match direction {
                group::Direction::Symmetric => Direction::Both,
                group::Direction::SenderOnly => Direction::Out,
                group::Direction::ReceiverOnly => Direction::In,
            },
            replay,
            sid: 0,
            sid_bits: if counter { known_bits.unwrap_or(SID_BITS) } else { RANDOM_SID_BITS },
            first_counter: NO_COUNTER,
            // The key server never gives a sender ID twice, and a member that starts anew registers anew.
            reserved: NO_COUNTER,
            selectors: selectors.iter().filter_map(selector).collect(),
        })
    }
}

/// Whether an SA is what the parameters describe, so that workers can go on with it.
fn is_same(entry: &Entry, params: &SaParams, keys: &Fingerprint) -> bool {
    let sa = &entry.sa;
    entry.served.as_ref().is_some_and(|served| served.keys == *keys)
        && (sa.spi(), sa.transform(), sa.mode(), sa.direction())
            == (params.spi, params.transform, params.mode, params.direction)
        && (sa.replay_policy(), entry.sid_bits) == (params.replay, params.sid_bits)
        && sa.selectors() == params.selectors
}

/// Gives each worker that has used up its sender ID, or never had one, a new one that nobody has used with
/// these keys.
pub(super) fn renew(sa: &Sa, sids: &[u32]) -> Result<(), String> {
    let mut each = sa.senders().zip(sids);
    each.try_for_each(|(sender, &sid)| sender.renew(sid).map(drop).map_err(|e| e.to_string()))
}

/// Different ones, as unlike other members' as 32 random bits allow.
pub(super) fn random_ids(workers: usize, random: &mut dyn Random) -> Vec<u32> {
    let mut ids = HashSet::new();
    while ids.len() < workers {
        let mut octets = [0; 4];
        random.fill(&mut octets);
        ids.insert(u32::from_be_bytes(octets));
    }
    ids.into_iter().collect()
}

/// A selector in the data plane's terms. Its prefixes are such by their type.
pub(super) fn selector(selector: &group::Selector) -> Option<Selector> {
    let prefix = |net: ipnet::IpNet| Prefix::truncated(net.addr(), net.prefix_len());
    let ports = |port: Option<u16>| port.map_or(ANY_PORT, |port| (port, port));
    Some(Selector {
        src: prefix(selector.src)?,
        dst: prefix(selector.dst)?,
        protocol: selector.protocol,
        src_port: ports(selector.src_port),
        dst_port: ports(selector.dst_port),
    })
}
