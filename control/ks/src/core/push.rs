//! A GROUPKEY-PUSH as the authority wants it: what it says and under which Rekey SA. It is encoded,
//! encrypted and signed by whoever sends it first, once, for all members that it goes to.

use super::kek::Kek;
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::Rekey;
use getvpn_gdoi::push::{KekSigner, PushError, build};
use getvpn_gdoi::wire::Compat;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A GROUPKEY-PUSH.
#[derive(Debug)]
pub struct PushMessage {
    /// The Rekey SA that it is under.
    pub kek: Arc<Kek>,
    /// What it says.
    pub rekey: Rekey,
    source: SocketAddr,
    compat: Compat,
    datagram: OnceLock<Result<Arc<[u8]>, PushError>>,
}

impl PushMessage {
    /// One that says `rekey` under `kek`, in the layout that the group's members read.
    #[must_use]
    pub fn new(kek: Arc<Kek>, rekey: Rekey, source: SocketAddr, compat: Compat) -> Self {
        Self { kek, rekey, source, compat, datagram: OnceLock::new() }
    }

    /// The datagram, which is made when it is asked for first.
    ///
    /// # Errors
    /// When the policy is of a kind or size that cannot be sent.
    pub fn datagram(&self, random: &mut dyn Random) -> Result<Arc<[u8]>, PushError> {
        let made = self.datagram.get_or_init(|| {
            // Of the policy of the Rekey SA that it is under, a PUSH says nothing but the SPI.
            let policy = self.kek.policy(Duration::ZERO, self.source, None);
            let signer = KekSigner { policy: &policy, keys: &self.kek.keys, signing: &self.kek.signing.key };
            build(signer, &self.rekey, self.compat, random).map(Arc::from)
        });
        made.clone()
    }
}
