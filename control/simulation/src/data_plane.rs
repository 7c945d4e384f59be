//! The data plane of a simulated member: which SAs it seals with, and the counters of its IVs. Does as the
//! real one does when its SAs change, and seals nothing.

use crate::ledger::{KeyOctets, Ledger, are_octets_of, key_octets};
use getvpn_gdoi::group::{Direction, EspSpi, SenderIds};
use getvpn_gdoi::member::sad::{SaEntry, SenderUse};
use std::collections::BTreeMap;

/// Counters of SAs that are gone, for when they come back.
const REMEMBERED: usize = 64;

#[derive(Debug)]
struct Sealer {
    revision: u64,
    keys: KeyOctets,
    ids: Option<SenderIds>,
    /// The next counter of each worker.
    next: Vec<u64>,
}

/// A packet that was sealed.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub spi: EspSpi,
    pub keys: KeyOctets,
}

#[derive(Debug, Default)]
pub(crate) struct DataPlane {
    sealers: BTreeMap<EspSpi, Sealer>,
    gone: BTreeMap<EspSpi, Sealer>,
}

/// What the data plane tells the control thread when SAs have changed.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub installed: Vec<EspSpi>,
    /// It does not know any more where the counters were.
    pub exhausted: Vec<EspSpi>,
}

impl DataPlane {
    /// Makes itself like the member's SAs.
    pub(crate) fn publish(&mut self, sas: &[SaEntry], ledger: &mut Ledger) -> Result<Published, String> {
        let before = std::mem::take(&mut self.sealers);
        for (spi, sealer) in before {
            let known = sas.iter().find(|sa| sa.spi() == spi);
            match known {
                Some(sa) if sa.revision == sealer.revision && are_octets_of(&sealer.keys, &sa.keys) => {
                    self.sealers.insert(spi, sealer);
                }
                _ => {
                    self.gone.insert(spi, sealer);
                }
            }
        }
        let mut published = Published::default();
        for sa in sas {
            if self.sealers.contains_key(&sa.spi()) {
                continue;
            }
            ledger.keyed(sa.spi(), &sa.keys)?;
            let keys = key_octets(&sa.keys);
            published.installed.push(sa.spi());
            let mut sealer =
                Sealer { revision: sa.revision, keys: keys.clone(), ids: None, next: Vec::new() };
            match &sa.sender {
                _ if sa.policy.direction == Direction::ReceiverOnly => {}
                SenderUse::NotNeeded | SenderUse::Missing => {}
                SenderUse::Fresh(ids) => {
                    ledger.taken(sa.spi(), &keys, ids)?;
                    sealer.next = vec![1; ids.values.len()];
                    sealer.ids = Some(ids.clone());
                }
                SenderUse::Resumed(ids) => match self.gone.get(&sa.spi()) {
                    Some(old) if old.keys == keys && old.ids.as_ref() == Some(ids) => {
                        sealer.next.clone_from(&old.next);
                        sealer.ids = Some(ids.clone());
                    }
                    _ => published.exhausted.push(sa.spi()),
                },
            }
            self.sealers.insert(sa.spi(), sealer);
        }
        while self.gone.len() > REMEMBERED {
            self.gone.pop_first();
        }
        Ok(published)
    }

    /// The counters of SAs that are gone are lost.
    pub(crate) fn forget(&mut self) {
        self.gone.clear();
    }

    /// Seals so many packets with each worker, with all SAs that the member's control thread has chosen to
    /// send with.
    pub(crate) fn seal(
        &mut self,
        sas: &[SaEntry],
        packets: u64,
        ledger: &mut Ledger,
    ) -> Result<Vec<Packet>, String> {
        let mut sealed = Vec::new();
        for sa in sas.iter().filter(|sa| sa.sends) {
            let spi = sa.spi();
            let Some(sealer) = self.sealers.get_mut(&spi) else {
                return Err(format!("SA {spi} is to be sealed with and was not published"));
            };
            if sa.policy.transform.is_counter_mode() {
                let Some(ids) = &sealer.ids else {
                    return Err(format!("SA {spi} is to be sealed with and has no sender IDs"));
                };
                for (&value, next) in ids.values.iter().zip(&mut sealer.next) {
                    ledger.sealed(spi, (ids.bits, value), (*next, *next + packets - 1))?;
                    *next += packets;
                }
            }
            sealed.push(Packet { spi, keys: sealer.keys.clone() });
        }
        Ok(sealed)
    }
}
