//! What must never come twice, written down for the whole run: SPIs, SEQs, sender IDs, IVs; and how long
//! each SA may live. Knows everything that was ever handed out, which no node does.

use getvpn_gdoi::group::{EspSpi, KekSpi, SenderIds, TekKeys};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the sender IDs of an SA are remembered after its end.
const REMEMBERED: Duration = Duration::from_secs(6 * 3600);

/// The octets of an SA's keys.
pub(crate) type KeyOctets = Arc<[u8]>;

pub(crate) fn key_octets(keys: &TekKeys) -> KeyOctets {
    [&*keys.cipher, &*keys.integrity].concat().into()
}

/// Whether these are the octets of these keys.
pub(crate) fn are_octets_of(octets: &[u8], keys: &TekKeys) -> bool {
    octets.split_at_checked(keys.cipher.len()) == Some((&*keys.cipher, &*keys.integrity))
}

/// A Data-Security SA since it was made.
#[derive(Clone, Debug)]
pub(crate) struct TekLife {
    pub made: Instant,
    pub ends: Instant,
    /// What the key server's clock had lost by then.
    pub lost: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    keys: HashMap<EspSpi, KeyOctets>,
    lives: BTreeMap<EspSpi, TekLife>,
    /// A digest of the PUSH with this number.
    sequences: HashMap<(KekSpi, u32), u64>,
    /// By SPI: what the key server gave.
    granted: BTreeMap<EspSpi, Ranges>,
    /// By keys: what members seal with.
    taken: BTreeMap<KeyOctets, Ranges>,
    ivs: HashMap<(EspSpi, u8, u32), u64>,
    pub figures: LedgerFigures,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LedgerFigures {
    pub spis: u64,
    pub sequences: u64,
    pub sender_ids: u64,
    pub ivs: u64,
}

/// Which IVs belong to somebody: a sender ID stands for all IVs that begin with it, and one of 8 bits for
/// 256 ones of 16 bits.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn take(&mut self, bits: u8, value: u32) -> bool {
        let shift = 64 - u32::from(bits);
        let first = u64::from(value) << shift;
        let last = first | ((1 << shift) - 1);
        let before = self.0.range(..=last).next_back();
        if before.is_some_and(|(_, &end)| end >= first) {
            return false;
        }
        self.0.insert(first, last);
        true
    }
}

impl Ledger {
    /// The key server has made an SA that is to live for so long.
    pub(crate) fn made(&mut self, spi: EspSpi, now: Instant, lifetime: Duration, lost: Duration) {
        self.lives.entry(spi).or_insert(TekLife { made: now, ends: now + lifetime, lost });
    }

    pub(crate) fn life(&self, spi: EspSpi) -> Option<&TekLife> {
        self.lives.get(&spi)
    }

    /// An SPI and its keys leave the key server, or are used by a member.
    pub(crate) fn keyed(&mut self, spi: EspSpi, keys: &TekKeys) -> Result<(), String> {
        match self.keys.get(&spi) {
            Some(known) if are_octets_of(known, keys) => Ok(()),
            Some(_) => Err(format!("SPI {spi} stands for two sets of keys")),
            None => {
                if spi.0 < 256 {
                    return Err(format!("SPI {spi} is reserved"));
                }
                self.figures.spis += 1;
                self.keys.insert(spi, key_octets(keys));
                Ok(())
            }
        }
    }

    /// A PUSH leaves the key server.
    pub(crate) fn pushed(&mut self, kek: KekSpi, sequence: u32, octets: &[u8]) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        octets.hash(&mut hasher);
        let digest = hasher.finish();
        match self.sequences.get(&(kek, sequence)) {
            Some(&known) if known == digest => Ok(()),
            Some(_) => Err(format!("SEQ {sequence} comes twice under Rekey SA {kek}")),
            None => {
                self.figures.sequences += 1;
                self.sequences.insert((kek, sequence), digest);
                Ok(())
            }
        }
    }

    /// The key server gives sender IDs for the SAs of an offer.
    pub(crate) fn granted(&mut self, spi: EspSpi, ids: &SenderIds) -> Result<(), String> {
        let ranges = self.granted.entry(spi).or_default();
        for &value in &ids.values {
            self.figures.sender_ids += 1;
            if !ranges.take(ids.bits, value) {
                return Err(format!("sender ID {value} of {} bits is given twice under SA {spi}", ids.bits));
            }
        }
        Ok(())
    }

    /// A member begins to seal with sender IDs, its counters at their beginning.
    pub(crate) fn taken(&mut self, spi: EspSpi, keys: &KeyOctets, ids: &SenderIds) -> Result<(), String> {
        let ranges = self.taken.entry(keys.clone()).or_default();
        for &value in &ids.values {
            if !ranges.take(ids.bits, value) {
                return Err(format!("sender ID {value} of {} bits is begun twice under SA {spi}", ids.bits));
            }
        }
        Ok(())
    }

    /// A member seals with these counters, both included.
    pub(crate) fn sealed(
        &mut self,
        spi: EspSpi,
        (bits, sid): (u8, u32),
        (first, last): (u64, u64),
    ) -> Result<(), String> {
        let used = self.ivs.entry((spi, bits, sid)).or_insert(0);
        if first <= *used {
            return Err(format!("IV {first} comes twice under SA {spi}, sender ID {sid}"));
        }
        *used = last;
        self.figures.ivs += last - first + 1;
        Ok(())
    }

    /// Forgets sender IDs and IVs of SAs that have been over for long. SPIs and SEQs stay.
    pub(crate) fn tidy(&mut self, now: Instant, lost: Duration) {
        let over = |life: &TekLife| life.ends + lost.saturating_sub(life.lost) + REMEMBERED < now;
        let gone: BTreeSet<_> =
            self.lives.iter().filter(|(_, life)| over(life)).map(|(spi, _)| *spi).collect();
        for spi in &gone {
            self.granted.remove(spi);
            if let Some(keys) = self.keys.get(spi) {
                self.taken.remove(keys);
            }
        }
        self.ivs.retain(|(spi, ..), _| !gone.contains(spi));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use getvpn_gdoi::crypto::Secret;

    const SPI: EspSpi = EspSpi(0x1000);

    fn ids(bits: u8, values: &[u32]) -> SenderIds {
        SenderIds { bits, values: values.to_vec() }
    }

    #[test]
    fn a_sender_id_that_comes_twice_is_seen_whatever_its_width() {
        let mut ledger = Ledger::default();
        ledger.granted(SPI, &ids(16, &[7, 8])).unwrap();
        ledger.granted(EspSpi(0x1001), &ids(16, &[7])).unwrap();
        ledger.granted(SPI, &ids(16, &[8])).unwrap_err();
        ledger.granted(SPI, &ids(8, &[0])).unwrap_err();
        ledger.granted(SPI, &ids(8, &[1])).unwrap();
        ledger.granted(SPI, &ids(16, &[0x1ff])).unwrap_err();
        let keys = KeyOctets::from([1, 2, 3]);
        ledger.taken(SPI, &keys, &ids(12, &[4])).unwrap();
        ledger.taken(SPI, &keys, &ids(12, &[4])).unwrap_err();
    }

    #[test]
    fn ivs_spis_and_seqs_that_come_twice_are_seen() {
        let mut ledger = Ledger::default();
        ledger.sealed(SPI, (16, 3), (1, 9)).unwrap();
        ledger.sealed(SPI, (16, 4), (1, 9)).unwrap();
        ledger.sealed(SPI, (16, 3), (10, 10)).unwrap();
        ledger.sealed(SPI, (16, 3), (10, 11)).unwrap_err();
        let keys = |cipher: &[u8], integrity: &[u8]| TekKeys {
            cipher: Secret::from(cipher),
            integrity: Secret::from(integrity),
        };
        ledger.keyed(SPI, &keys(&[1, 2], &[3])).unwrap();
        ledger.keyed(SPI, &keys(&[1, 2], &[3])).unwrap();
        ledger.keyed(SPI, &keys(&[1, 2], &[4])).unwrap_err();
        ledger.keyed(SPI, &keys(&[1], &[])).unwrap_err();
        ledger.keyed(EspSpi(255), &keys(&[1, 2], &[3])).unwrap_err();
        let kek = KekSpi([1; 16]);
        ledger.pushed(kek, 1, b"one").unwrap();
        ledger.pushed(kek, 1, b"one").unwrap();
        ledger.pushed(kek, 1, b"other").unwrap_err();
    }
}
