//! PUSHes of any form, sealed as a key server would.

use super::seal::signed;
use crate::crypto::{AES_BLOCK_LEN, AesCbc, SeededRandom};
use crate::group::testing::signing_key;
use crate::group::{GroupKeys, KekKeys, KekPolicy, Rekey, to_key_download, to_sa_payload};
use crate::wire::{
    Compat, CookiePair, Delete, Doi, ExchangeType, Flags, HEADER_LEN, Header, Payload, PayloadType, Spi,
    encode_chain,
};

/// The payloads before SIG.
pub(super) struct Chain(pub(super) Vec<Payload>);

impl Chain {
    /// SEQ, a deletion, SA and KD.
    pub(super) fn of(rekey: &Rekey) -> Self {
        let keys: &GroupKeys = &rekey.keys;
        Self(vec![
            Payload::Sequence(rekey.sequence),
            Payload::Delete(Delete { doi: Doi::Gdoi, protocol: 1, spis: vec![Spi::from(300)] }),
            Payload::GdoiSa(to_sa_payload(&rekey.policy, Compat::Standard).unwrap()),
            Payload::KeyDownload(to_key_download(keys, &rekey.policy).unwrap()),
        ])
    }

    /// With its signature.
    pub(super) fn seal(&self, kek: &(KekPolicy, KekKeys)) -> Vec<u8> {
        self.finish(kek, true, &[])
    }

    /// With a payload behind its signature.
    pub(super) fn seal_before(&self, kek: &(KekPolicy, KekKeys), after: &Payload) -> Vec<u8> {
        self.finish(kek, true, std::slice::from_ref(after))
    }

    /// Without a signature.
    pub(super) fn unsigned(&self, kek: &(KekPolicy, KekKeys)) -> Vec<u8> {
        self.finish(kek, false, &[])
    }

    fn finish(&self, (policy, keys): &(KekPolicy, KekKeys), sign: bool, after: &[Payload]) -> Vec<u8> {
        let next = if sign { PayloadType::Signature } else { PayloadType::None };
        let chain = encode_chain(&self.0, next, Compat::Standard).unwrap();
        let cookies = CookiePair::from(policy.spi.0);
        let header = Header::new(cookies, chain.first, ExchangeType::GroupkeyPush, Flags::ENCRYPTED, 0);
        let after = encode_chain(after, PayloadType::None, Compat::Standard).unwrap();
        let mut body = chain.octets.to_vec();
        if sign {
            let signing = signing_key(policy.signature);
            let len = body.len() + 4 + signing.kind().signature_len() + after.octets.len();
            let (scheme, message) =
                signed(policy, header.with_body_len(len).unwrap(), &body, Compat::Standard);
            let signature = signing.sign(scheme, &message, &mut SeededRandom::new(1)).unwrap();
            let signature =
                encode_chain(&[Payload::Signature(signature)], after.first, Compat::Standard).unwrap();
            body.extend_from_slice(&signature.octets);
            body.extend_from_slice(&after.octets);
        }
        body.resize(body.len().next_multiple_of(AES_BLOCK_LEN), 0);
        AesCbc::new(&keys.cipher).unwrap().encrypt(&keys.iv, &mut body).unwrap();
        let datagram = header.datagram(&body).unwrap();
        assert_eq!(datagram.len(), HEADER_LEN + body.len());
        datagram
    }
}
