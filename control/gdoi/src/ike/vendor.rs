//! Vendor IDs (RFC 2408 section 3.16): what we announce, and what we understand of what peers announce.
//! Everything else in them is ignored.

use crate::wire::{Body, Payload};

/// The peer understands dead peer detection, version 1.0 (RFC 3706 section 5.1).
const DPD: [u8; 16] =
    [0xaf, 0xca, 0xd7, 0x13, 0x68, 0xa1, 0xf1, 0xc9, 0x6b, 0x86, 0x96, 0xfc, 0x77, 0x57, 0x01, 0x00];

/// The peer is one of this project's: the start of SHA-256 of `getvpn`.
const GETVPN: [u8; 16] =
    [0x31, 0x7f, 0x5e, 0x98, 0xb9, 0x85, 0x02, 0xfa, 0x40, 0x87, 0xfd, 0x57, 0x7e, 0x27, 0xef, 0x63];

/// What a peer announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) is_getvpn: bool,
    pub(super) supports_dpd: bool,
}

impl Announced {
    pub(super) fn by(body: &Body<'_>) -> Self {
        let announced = |vendor_id: &[u8]| {
            body.payloads()
                .iter()
                .any(|located| matches!(&located.payload, Payload::VendorId(found) if found == vendor_id))
        };
        Self { is_getvpn: announced(&GETVPN), supports_dpd: announced(&DPD) }
    }
}

/// What we announce.
pub(super) fn payloads() -> [Payload; 2] {
    [Payload::VendorId(GETVPN.to_vec()), Payload::VendorId(DPD.to_vec())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::HashAlgorithm;

    #[test]
    fn our_vendor_id_is_what_it_says_it_is() {
        assert_eq!(HashAlgorithm::Sha256.digest(&[b"getvpn"])[..16], GETVPN);
    }
}
