//! The group member's side of GROUPKEY-PULL.

use super::message::Exchange;
use super::{NONCE_LEN, PullError};
use crate::crypto::Random;
use crate::group::{
    GroupId, GroupKeys, GroupPolicy, KekKeys, KekPolicy, Known, Refused, from_key_download, from_sa_payload,
};
use crate::ike::Prf;
use crate::wire::{Attributes, Compat, EncodedChain, Gap, GapAttribute, Payload, PayloadType};

/// Message 1 is made; message 2 is awaited.
#[derive(Clone, Debug)]
pub struct PullClient {
    pub(super) exchange: Exchange,
    pub(super) compat: Compat,
    pub(super) ni: Vec<u8>,
}

/// What message 2 brings.
#[derive(Clone, Debug)]
pub struct Offered {
    /// The group's policy, as far as it can be served.
    pub policy: GroupPolicy,
    /// What of it cannot be, and why.
    pub refused: Vec<Refused>,
    /// How the exchange goes on.
    pub accept: PullAccept,
}

/// Message 2 has verified; message 3 is to be made, and message 4 is awaited.
#[derive(Clone, Debug)]
pub struct PullAccept {
    pub(super) client: PullClient,
    pub(super) nr: Vec<u8>,
    pub(super) policy: GroupPolicy,
    pub(super) refused: Vec<Refused>,
}

/// What message 4 brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// The number of the last PUSH, where the key server sends any: only greater ones are accepted.
    pub sequence: Option<u32>,
    /// The keys, to be compared with the policy of message 2.
    pub keys: GroupKeys,
    /// What of them is not used, and why.
    pub refused: Vec<Refused>,
}

impl PullClient {
    /// Begins an exchange under a message ID that the phase 1 has not used yet: the state, and message 1.
    ///
    /// # Errors
    /// None that is known: message 1 always fits.
    pub fn start(
        prf: Prf,
        message_id: u32,
        group: GroupId,
        compat: Compat,
        random: &mut dyn Random,
    ) -> Result<(Self, EncodedChain), PullError> {
        let mut ni = vec![0; NONCE_LEN];
        random.fill(&mut ni);
        let exchange = Exchange { prf, message_id };
        let payloads = [Payload::Nonce(ni.clone()), Payload::Identification(group.to_identification(compat))];
        let message = exchange.write(&[], &payloads, compat)?;
        Ok((Self { exchange, compat, ni }, message))
    }

    /// The message ID of the exchange.
    #[must_use]
    pub fn message_id(&self) -> u32 {
        self.exchange.message_id
    }

    /// Reads message 2, whose first payload is of type `first`.
    ///
    /// # Errors
    /// It is malformed or does not verify. The exchange goes on as if it had not come.
    pub fn policy(&self, first: PayloadType, octets: &[u8]) -> Result<Offered, PullError> {
        let message = self.exchange.read(2, &[&self.ni], first, octets, self.compat)?;
        let Payload::Nonce(nr) = message.one(PayloadType::Nonce)? else {
            return Err(message.missing(PayloadType::Nonce));
        };
        let Payload::GdoiSa(sa) = message.one(PayloadType::Sa)? else {
            return Err(message.missing(PayloadType::Sa));
        };
        let (policy, refused) = from_sa_payload(sa);
        let accept = PullAccept {
            client: self.clone(),
            nr: nr.clone(),
            policy: policy.clone(),
            refused: refused.clone(),
        };
        Ok(Offered { policy, refused, accept })
    }
}

impl PullAccept {
    /// The message ID of the exchange.
    #[must_use]
    pub fn message_id(&self) -> u32 {
        self.client.exchange.message_id
    }

    /// Message 3. `sender_ids` is how many are wanted; without it the key server gives one, where the
    /// group's SAs need them (RFC 6407 section 3.5).
    ///
    /// # Errors
    /// None that is known: message 3 always fits.
    pub fn confirm(&self, sender_ids: Option<u16>) -> Result<EncodedChain, PullError> {
        let gap = sender_ids.map(|count| {
            let attributes = Attributes::new().with(GapAttribute::SenderIdRequest, count);
            Payload::Gap(Gap { attributes })
        });
        let nonces = [self.client.ni.as_slice(), &self.nr];
        Ok(self.client.exchange.write(&nonces, gap.as_slice(), self.client.compat)?)
    }

    /// Reads message 4, whose first payload is of type `first`. `held` is the Rekey SA that the member
    /// holds already, if it registers again.
    ///
    /// # Errors
    /// It is malformed or does not verify. The exchange goes on as if it had not come.
    pub fn keys(
        &self,
        held: Option<(&KekPolicy, &KekKeys)>,
        first: PayloadType,
        octets: &[u8],
    ) -> Result<Pulled, PullError> {
        let nonces = [self.client.ni.as_slice(), &self.nr];
        let message = self.client.exchange.read(4, &nonces, first, octets, self.client.compat)?;
        let Payload::KeyDownload(download) = message.one(PayloadType::KeyDownload)? else {
            return Err(message.missing(PayloadType::KeyDownload));
        };
        let sequence = match message.at_most_one(PayloadType::Sequence)? {
            Some(Payload::Sequence(sequence)) => Some(*sequence),
            _ => None,
        };
        let known = Known { policy: &self.policy, refused: &self.refused, kek: held };
        let (keys, refused) = from_key_download(download, known, self.client.compat);
        Ok(Pulled { sequence, keys, refused })
    }
}
