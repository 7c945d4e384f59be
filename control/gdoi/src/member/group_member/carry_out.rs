//! What a PUSH says is done (rule S6).

use super::register::unusable;
use super::*;
use crate::group::Deletion;
use crate::push::Opened;

impl GroupMember {
    pub(super) fn carry_out(
        &mut self,
        opened: Opened,
        key_server: usize,
        now: Instant,
        random: &mut dyn Random,
    ) {
        let Opened { rekey, refused } = opened;
        let outcome = self.sad.rekey(&rekey, &unusable(&refused), key_server, now);
        for refused in refused {
            self.tell(MemberEvent::PartRefused(refused));
        }
        if rekey.deletions.contains(&Deletion::Kek) {
            self.delete_kek(key_server, now, random);
        }
        for deletion in &rekey.deletions {
            if let Deletion::Tek(spi) = *deletion {
                self.recovery.gone(spi, now);
            }
        }
        // A key server that has another key by now: until it says which, none of its SPIs can be told.
        if let Some(key) = &self.spi_key
            && outcome.installed.iter().any(|&spi| !key.marks(spi))
        {
            self.spi_key = None;
            self.tell(MemberEvent::SpiKeyChanged);
        }
        if let Some(policy) = &rekey.policy.kek {
            self.take_kek(policy, &rekey.keys, None, key_server);
        }
        self.tell(MemberEvent::Rekeyed {
            sequence: rekey.sequence,
            installed: outcome.installed.len(),
            refreshed: outcome.refreshed.len(),
            deleted: outcome.deleted.len(),
        });
        self.recover(&outcome, now);
        self.ask_for_what_is_missing(outcome, now);
    }

    pub(super) fn delete_kek(&mut self, key_server: usize, now: Instant, random: &mut dyn Random) {
        if let Some(spi) = self.keks.delete(key_server) {
            self.tell(MemberEvent::KekDeleted(spi));
        }
        self.registrar.want_with_others(Reason::KekDeleted, now, random);
    }
}
