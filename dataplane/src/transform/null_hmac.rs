//! NULL encryption (RFC 2410) with an HMAC: no IV, nothing hidden. Runs on workers; never allocates.

use super::ESP_HEADER_LEN;
use super::hmac::{Hash, Hmac};

/// The key of one SA.
pub(super) struct NullHmac {
    hmac: Hmac,
}

impl NullHmac {
    /// None when there is a `key`, for NULL has none, or no `hash`.
    pub(super) fn new(key: &[u8], hash: Option<Hash>, integrity_key: &[u8]) -> Option<Self> {
        if !key.is_empty() {
            return None;
        }
        let hmac = Hmac::new(hash?, integrity_key)?;
        Some(Self { hmac })
    }

    /// False when the packet is not authentic.
    #[inline]
    pub(super) fn open(&self, esp: &mut [u8]) -> bool {
        match self.hmac.split(esp) {
            Some((covered, icv)) if covered.len() >= ESP_HEADER_LEN => self.hmac.verify(covered, icv),
            _ => false,
        }
    }

    /// Writes the ICV; false, and nothing written, when the packet is too short.
    #[inline]
    pub(super) fn seal(&self, esp: &mut [u8]) -> bool {
        match self.hmac.split(esp) {
            Some((covered, icv)) if covered.len() >= ESP_HEADER_LEN => self.hmac.sign(covered, icv),
            _ => false,
        }
    }
}
