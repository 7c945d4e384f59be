//! A change of the configuration: what is different, shown first where the operator wants that, and what
//! follows from it.

use super::super::event::Why;
use super::super::kek::Fate;
use super::super::settings::{GroupSettings, TekShape, Transport};
use super::{Context, Group, KekRenewal, Renewal, Retire, TekRenewal};
use getvpn_gdoi::group::GroupAssociatedPolicy;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One thing that is different.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// A Data-Security SA more.
    TekAdded(Arc<TekShape>),
    /// A Data-Security SA less.
    TekRemoved(Arc<TekShape>),
    /// Another lifetime.
    TekLifetime(Arc<TekShape>, Duration, Duration),
    /// Another cipher, signature or lifetime of the Rekey SA.
    Kek,
    /// Rekeys go elsewhere.
    Transport(Transport, Transport),
    /// Rekeys are acknowledged from now on, or no longer.
    Acknowledge(bool),
    /// Another ATD or DTD.
    Delays(GroupAssociatedPolicy, GroupAssociatedPolicy),
    /// Another width of sender IDs.
    SidBits(u8, u8),
    /// Sender IDs are needed, and members have none.
    SenderIdsNeeded,
    /// Retransmits, interval, rate or source of rekeys.
    Delivery,
    /// Another name.
    Name(String),
    /// Another layout on the wire.
    Compat,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::TekAdded(shape) => write!(f, "SA added: {shape}"),
            Difference::TekRemoved(shape) => write!(f, "SA removed: {shape}"),
            Difference::TekLifetime(shape, from, to) => {
                write!(f, "SA lifetime {} s -> {} s: {shape}", from.as_secs(), to.as_secs())
            }
            Difference::Kek => f.write_str("Rekey SA changed: a new one by rekey"),
            Difference::Transport(from, to) => write!(f, "rekeys: {} -> {}", transport(from), transport(to)),
            Difference::Acknowledge(true) => f.write_str("rekeys are acknowledged from now on"),
            Difference::Acknowledge(false) => f.write_str("rekeys are no longer acknowledged"),
            Difference::Delays(from, to) => write!(
                f,
                "activation delay {} s -> {} s, deactivation delay {} s -> {} s",
                from.activation_delay.as_secs(),
                to.activation_delay.as_secs(),
                from.deactivation_delay.as_secs(),
                to.deactivation_delay.as_secs()
            ),
            Difference::SidBits(from, to) => {
                write!(f, "sender IDs of {from} bits -> {to} bits: all members register again")
            }
            Difference::SenderIdsNeeded => f.write_str("sender IDs are needed: all members register again"),
            Difference::Delivery => f.write_str("retransmits, interval, rate or source of rekeys"),
            Difference::Name(name) => write!(f, "name -> {name:?}"),
            Difference::Compat => f.write_str("layout on the wire"),
        }
    }
}

fn transport(transport: &Transport) -> String {
    match transport {
        Transport::Unicast => "unicast".to_owned(),
        Transport::Multicast(address) => format!("multicast to {address}"),
    }
}

/// What would be different with these settings. Compared with what the group has, which after a restart
/// may not be what it was configured for then.
#[must_use]
pub fn differences(group: &Group, new: &GroupSettings) -> Vec<Difference> {
    let mut all = Vec::new();
    let old = &group.settings;
    for slot in &group.slots {
        match new.teks.iter().find(|tek| tek.shape == *slot.shape) {
            None => all.push(Difference::TekRemoved(Arc::clone(&slot.shape))),
            Some(tek) if tek.lifetime != slot.lifetime => {
                all.push(Difference::TekLifetime(Arc::clone(&slot.shape), slot.lifetime, tek.lifetime));
            }
            Some(_) => {}
        }
    }
    let added = new.teks.iter().filter(|tek| group.slots.iter().all(|slot| *slot.shape != tek.shape));
    all.extend(added.map(|tek| Difference::TekAdded(Arc::new(tek.shape.clone()))));
    let current = group.keks.last().filter(|entry| entry.fate == Fate::Open).map(|entry| &*entry.kek);
    if old.kek != new.kek
        || current.is_some_and(|kek| (kek.cipher, kek.signature) != (new.kek.cipher, new.kek.signature))
    {
        all.push(Difference::Kek);
    }
    let sends = current.map_or(old.rekey.transport, |kek| kek.transport);
    if sends != new.rekey.transport {
        all.push(Difference::Transport(sends, new.rekey.transport));
    }
    if old.rekey.acknowledge != new.rekey.acknowledge {
        all.push(Difference::Acknowledge(new.rekey.acknowledge.is_some()));
    }
    if old.gap != new.gap {
        all.push(Difference::Delays(old.gap, new.gap));
    }
    if group.sids.bits() != new.sid_bits {
        all.push(Difference::SidBits(group.sids.bits(), new.sid_bits));
    }
    let counts = |shape: &TekShape| shape.transform.is_counter_mode();
    if new.needs_sender_ids()
        && !group.slots.iter().any(|slot| counts(&slot.shape))
        && !group.slots.is_empty()
    {
        all.push(Difference::SenderIdsNeeded);
    }
    let delivery = |settings: &GroupSettings| {
        let rekey = settings.rekey;
        (rekey.retransmits, rekey.interval, rekey.rate, rekey.source)
    };
    if delivery(old) != delivery(new) {
        all.push(Difference::Delivery);
    }
    if old.name != new.name {
        all.push(Difference::Name(new.name.clone()));
    }
    if old.compat != new.compat {
        all.push(Difference::Compat);
    }
    all
}

impl Group {
    /// Does what these settings say from now on.
    pub(in crate::core) fn configure(&mut self, new: GroupSettings, context: &mut Context<'_>) {
        let differences = differences(self, &new);
        let mut renewal = Renewal { retire: Retire::Soon, ..Renewal::nothing(Why::PolicyChange) };
        let mut slots = BTreeSet::new();
        let mut told = false;
        for difference in &differences {
            match difference {
                Difference::TekRemoved(shape) => {
                    told = true;
                    let gone: Vec<_> =
                        self.slots.iter().filter(|slot| slot.shape == *shape).cloned().collect();
                    self.slots.retain(|slot| slot.shape != *shape);
                    gone.iter().for_each(|slot| self.retire(slot.id, Retire::Soon, context));
                }
                Difference::TekAdded(shape) => {
                    let tek = new.teks.iter().find(|tek| tek.shape == **shape);
                    let lifetime = tek.map_or(Duration::ZERO, |tek| tek.lifetime);
                    slots.insert(self.add_slot(Arc::clone(shape), lifetime));
                }
                Difference::TekLifetime(shape, _, lifetime) => {
                    for slot in self.slots.iter_mut().filter(|slot| slot.shape == *shape) {
                        slot.lifetime = *lifetime;
                        slots.insert(slot.id);
                    }
                }
                Difference::Kek | Difference::Transport(..) | Difference::Acknowledge(_) => {
                    renewal.kek = renewal.kek.max(KekRenewal::Roll);
                }
                Difference::SidBits(..) | Difference::SenderIdsNeeded => renewal.kek = KekRenewal::Replace,
                Difference::Delays(..) | Difference::Compat => told = true,
                Difference::Delivery | Difference::Name(_) => {}
            }
        }
        renewal.teks = TekRenewal::Slots(slots);
        if new.kek.key != self.settings.kek.key {
            self.spare = None;
        }
        self.name = new.name.as_str().into();
        self.settings = new;
        let version = self.version;
        if !differences.is_empty() {
            context.out.touch_group(self.id());
        }
        self.renew(renewal, context);
        if told && self.version == version {
            self.version += 1;
            self.rekey_all(Why::PolicyChange, context);
        }
    }

    /// The group is no longer served: its members delete what they have.
    pub(in crate::core) fn close(&mut self, context: &mut Context<'_>) {
        self.closing = true;
        self.wanted = None;
        self.version += 1;
        self.rekey_all(Why::GroupClosed, context);
    }
}
