//! Whatever happens in whatever order, some things always hold.

use super::*;
use crate::group::Selector;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Debug)]
enum Event {
    /// Offered and keyed SPIs need not be the same.
    Register {
        offered: Vec<Tek>,
        keyed: Vec<u32>,
        key_server: usize,
    },
    Offer(Vec<Tek>),
    Rekey {
        teks: Vec<Tek>,
        delete: Option<u32>,
    },
    Ids(u32),
    Exhausted(u32),
    Delete(u32),
    Refuse(u32),
    Wait(u64),
}

type Tek = (u32, u8, u64);

fn tek_of(&(spi, selectors, life): &Tek) -> TekPolicy {
    // The selectors belong to the SPI, as they do at a sane key server.
    let selectors = match (u32::from(selectors) + spi) % 4 {
        0 => vec![selector(0)],
        1 => vec![selector(0), selector(1)],
        2 => vec![selector(1)],
        _ => vec![selector(2), selector(0)],
    };
    TekPolicy { selectors, ..tek(0x1000 + spi, life) }
}

fn teks() -> impl Strategy<Value = Vec<Tek>> {
    prop::collection::vec((0..8_u32, Just(0_u8), 1..400_u64), 0..5)
}

fn event() -> impl Strategy<Value = Event> {
    let spi = 0..8_u32;
    prop_oneof![
        2 => (teks(), prop::collection::vec(0..8_u32, 0..5), 0..2_usize)
            .prop_map(|(offered, keyed, key_server)| Event::Register { offered, keyed, key_server }),
        1 => teks().prop_map(Event::Offer),
        4 => (teks(), prop::option::weighted(0.2, 0..8_u32))
            .prop_map(|(teks, delete)| Event::Rekey { teks, delete }),
        1 => (1..20_u32).prop_map(Event::Ids),
        1 => spi.clone().prop_map(Event::Exhausted),
        1 => spi.clone().prop_map(Event::Delete),
        1 => spi.prop_map(Event::Refuse),
        6 => (0..60_u64).prop_map(Event::Wait),
    ]
}

/// What the sealer did: which sender IDs started from their first counter, by SPI.
#[derive(Default)]
struct Sealer {
    started: HashMap<EspSpi, HashSet<u32>>,
    made: HashMap<EspSpi, u64>,
    /// What it will not make the next time.
    refuses: HashSet<EspSpi>,
}

impl Sealer {
    /// Like the data plane: makes what is new, and what has a new revision.
    fn reconcile(&mut self, sad: &mut Sad, now: Instant) {
        self.made.retain(|&spi, _| sad.contains(spi));
        let new: Vec<_> =
            sad.entries().iter().map(SaEntry::spi).filter(|spi| !self.made.contains_key(spi)).collect();
        for spi in new.into_iter().filter(|spi| self.refuses.remove(spi)) {
            sad.refuse(spi, "no memory", now).unwrap();
        }
        for entry in sad.entries() {
            if self.made.insert(entry.spi(), entry.revision) == Some(entry.revision) {
                continue;
            }
            if let SenderUse::Fresh(ids) = &entry.sender {
                let started = self.started.entry(entry.spi()).or_default();
                for &id in &ids.values {
                    assert!(started.insert(id), "sender ID {id} starts anew under SA {}", entry.spi());
                }
            }
        }
    }
}

fn check(sad: &Sad, now: Instant, sas: usize) {
    let mut by_selectors: HashMap<Vec<Selector>, usize> = HashMap::new();
    let mut sent: HashSet<Selector> = HashSet::new();
    for entry in sad.entries() {
        assert!(entry.expires > now, "{} outlives its lifetime", entry.spi());
        assert!(entry.retires.is_none_or(|at| at > now), "{} outlives DTD", entry.spi());
        assert!(!(entry.sends && entry.retires.is_some()));
        if entry.sends {
            assert!(entry.can_send());
            let mut selectors = entry.policy.selectors.clone();
            selectors.sort_by_key(|selector| selector.to_string());
            *by_selectors.entry(selectors).or_default() += 1;
            sent.extend(&entry.policy.selectors);
        }
    }
    assert!(by_selectors.values().all(|&n| n == 1), "two SAs send for the same selectors");
    for entry in sad.entries().iter().filter(|entry| entry.can_send()) {
        assert!(entry.policy.selectors.iter().all(|s| sent.contains(s)), "{} could send", entry.spi());
    }
    // The one that sends is the newest that may, unless none may yet.
    for (at, entry) in sad.entries().iter().enumerate().filter(|(_, e)| e.sends && e.sends_from <= now) {
        let newer = &sad.entries()[at + 1..];
        let all = |by: &SaEntry| entry.policy.selectors.iter().all(|s| by.policy.selectors.contains(s));
        assert!(!newer.iter().any(|n| n.sends && all(n)), "{} sends beside a newer one", entry.spi());
    }
    let unique: HashSet<_> = sad.entries().iter().map(SaEntry::spi).collect();
    assert_eq!(unique.len(), sad.entries().len());
    assert!(unique.iter().all(|&spi| sad.contains(spi)));
    assert!(sad.entries().len() <= sas && sad.pending().len() <= sas);
    assert!(sad.pending().all(|pending| pending.since + pending.policy.lifetime > now));
    assert!(sad.next_change(now).is_none_or(|at| at > now));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_sa_outlives_its_life_one_sends_and_no_iv_comes_twice(
        events in prop::collection::vec(event(), 1..80),
        sas in 2..10_usize,
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut sad = Sad::new(SadLimits { sas, ..SadLimits::default() });
        let mut sealer = Sealer::default();
        for event in events {
            match event {
                Event::Register { offered, keyed, key_server } => {
                    let offered: Vec<_> = offered.iter().map(tek_of).collect();
                    sad.offer(&policy(&offered), &[], now);
                    let keyed: Vec<_> = keyed.iter().map(|spi| 0x1000 + spi).collect();
                    sad.download(&keys(&keyed), key_server, now);
                }
                Event::Offer(teks) => {
                    sad.offer(&policy(&teks.iter().map(tek_of).collect::<Vec<_>>()), &[], now);
                }
                Event::Rekey { teks, delete } => {
                    let mut rekey = rekey(&teks.iter().map(tek_of).collect::<Vec<_>>());
                    rekey.deletions = delete.map(|spi| Deletion::Tek(EspSpi(0x1000 + spi))).into_iter().collect();
                    sad.rekey(&rekey, &[], 0, now);
                }
                Event::Ids(first) => sad.set_sender_ids(0, sender_ids(&[first, first + 1]), now).unwrap(),
                Event::Exhausted(spi) => {
                    sad.sender_ids_exhausted(EspSpi(0x1000 + spi), now);
                }
                Event::Delete(spi) => {
                    sad.delete(EspSpi(0x1000 + spi), now);
                }
                Event::Refuse(spi) => {
                    sealer.refuses.insert(EspSpi(0x1000 + spi));
                }
                Event::Wait(step) => now += secs(step),
            }
            sad.advance(now);
            check(&sad, now, sas);
            sealer.reconcile(&mut sad, now);
            check(&sad, now, sas);
        }
        // Left to itself, everything ends.
        sad.advance(now + secs(400));
        prop_assert_eq!((sad.entries().len(), sad.pending().len()), (0, 0));
    }
}
