//! A phase 1's keys in the hands of the harness, so that what a fuzzer made up can be encrypted and
//! authenticated like an honest message. Written after RFC 2409, apart from what is under test.

use getvpn_gdoi::crypto::{AES_BLOCK_LEN, AesCbc, HashAlgorithm, Secret};
use getvpn_gdoi::ike::Prf;
use getvpn_gdoi::wire::{CookiePair, ExchangeType, Flags, HEADER_LEN, Header, PayloadType};

/// The suite of every phase 1 here, and what it means.
pub const SUITE: &str = "aes128-sha256-ecp256";
pub(crate) const HASH: HashAlgorithm = HashAlgorithm::Sha256;
const KEY_LEN: usize = 16;

/// What a CBC chain goes on from.
pub type Iv = [u8; AES_BLOCK_LEN];

/// Payloads that nobody has checked: the type of the first, and all octets.
#[derive(Clone)]
pub struct Chain {
    /// The first payload's type.
    pub first: PayloadType,
    /// The payloads.
    pub octets: Vec<u8>,
}

impl Chain {
    /// A type and octets as a fuzzer gives them: the type comes first.
    #[must_use]
    pub fn fuzzed(input: &[u8]) -> Self {
        let (first, octets) = input.split_first().unwrap_or((&0, &[]));
        Self { first: (*first).into(), octets: octets.to_vec() }
    }

    /// This behind a payload of any content.
    #[must_use]
    pub fn behind(self, payload_type: PayloadType, content: &[u8]) -> Self {
        let len = u16::try_from(content.len() + 4).unwrap_or(u16::MAX).to_be_bytes();
        let octets = [&[self.first.number(), 0], &len[..], content, &self.octets].concat();
        Self { first: payload_type, octets }
    }
}

/// An established phase 1, or one whose keys are agreed.
#[derive(Clone)]
pub struct Session {
    /// Its cookies.
    pub cookies: CookiePair,
    /// Makes its HASHes.
    pub prf: Prf,
    pub(crate) cipher: AesCbc,
    /// The last block of its last message.
    pub last_block: Iv,
}

impl Session {
    /// The keys that grow out of SKEYID (RFC 2409 section 5).
    pub(crate) fn derive(cookies: CookiePair, skeyid: &[u8], shared: &[u8]) -> Self {
        let (initiator, responder) = (cookies.initiator.0, cookies.responder.0);
        let grow =
            |before: &[u8], number| HASH.prf(skeyid, &[before, shared, &initiator, &responder, &[number]]);
        let skeyid_d = grow(&[], 0);
        let skeyid_a = grow(&skeyid_d, 1);
        let skeyid_e = grow(&skeyid_a, 2);
        let cipher = AesCbc::new(&skeyid_e[..KEY_LEN]).unwrap();
        Self { cookies, prf: Prf::new(HASH, Secret::from(&skeyid_a[..])), cipher, last_block: [0; 16] }
    }

    /// A message, encrypted; `iv` moves on.
    pub fn seal(&self, exchange: ExchangeType, message_id: u32, iv: &mut Iv, chain: &Chain) -> Vec<u8> {
        let header = Header::new(self.cookies, chain.first, exchange, Flags::ENCRYPTED, message_id);
        let mut text = chain.octets.clone();
        text.resize(text.len().next_multiple_of(AES_BLOCK_LEN), 0);
        self.cipher.encrypt(iv, &mut text).unwrap();
        *iv = last_block(&text);
        header.datagram(&text).unwrap()
    }

    /// What is in a message that the side under test sent; `iv` moves on.
    #[must_use]
    pub fn open(&self, datagram: &[u8], iv: &mut Iv) -> Chain {
        let mut octets = datagram[HEADER_LEN..].to_vec();
        let next = last_block(&octets);
        self.cipher.decrypt(iv, &mut octets).unwrap();
        *iv = next;
        Chain { first: Header::decode(datagram).unwrap().next_payload, octets }
    }

    /// The first IV of an exchange over it (RFC 2409 appendix B).
    #[must_use]
    pub fn phase2_iv(&self, message_id: u32) -> Iv {
        first_iv(&[&self.last_block, &message_id.to_be_bytes()])
    }

    /// The chain behind the HASH that authenticates it: over the message ID, `nonces` and the chain.
    #[must_use]
    pub fn authentic(&self, message_id: u32, nonces: &[&[u8]], chain: Chain) -> Chain {
        let hash = self.prf.hash(message_id, &[nonces, &[&chain.octets]].concat());
        chain.behind(PayloadType::Hash, &hash)
    }

    /// An Informational message that is encrypted and authenticated.
    #[must_use]
    pub fn informational(&self, message_id: u32, chain: Chain) -> Vec<u8> {
        let chain = self.authentic(message_id, &[], chain);
        self.seal(ExchangeType::Informational, message_id, &mut self.phase2_iv(message_id), &chain)
    }
}

/// The start of the hash of the parts.
pub(crate) fn first_iv(parts: &[&[u8]]) -> Iv {
    HASH.digest(parts)[..AES_BLOCK_LEN].try_into().unwrap()
}

/// What the next message of the exchange goes on from.
pub(crate) fn last_block(text: &[u8]) -> Iv {
    *text.last_chunk().unwrap_or(&[0; AES_BLOCK_LEN])
}
