//! A GROUPKEY-PUSH as the authority wants it: what it says and under which Rekey SA. It is encoded,
//! encrypted and signed by whoever sends it first, once, for all members that it goes to.

use super::kek::Kek;
use getvpn_gdoi::group::Rekey;
use getvpn_gdoi::wire::Compat;
use std::sync::Arc;

/// A GROUPKEY-PUSH.
#[derive(Debug)]
pub struct PushMessage {
    /// The Rekey SA that it is under.
    pub kek: Arc<Kek>,
    /// What it says.
    pub rekey: Rekey,
    /// Whose layout it has.
    pub compat: Compat,
}

impl PushMessage {
    /// One that says `rekey` under `kek`.
    #[must_use]
    pub fn new(kek: Arc<Kek>, rekey: Rekey, compat: Compat) -> Self {
        Self { kek, rekey, compat }
    }
}
