//! The key server's side of GROUPKEY-PULL. Whether the member may have the group, and what the group's
//! policy and keys are, is the caller's to say.

use super::message::Exchange;
use super::{NONCE_LEN, PullError};
use crate::crypto::Random;
use crate::group::{GroupKeys, GroupPolicy, NamedGroup, to_key_download, to_sa_payload};
use crate::ike::Prf;
use crate::wire::{Compat, EncodedChain, GapAttribute, Payload, PayloadType};

/// Message 1 has verified; message 2 is to be made.
///
/// Nothing of the key server's state may change yet: message 1 can be a replay within its phase 1.
#[derive(Clone, Debug)]
pub struct PullServer {
    pub(super) exchange: Exchange,
    pub(super) ni: Vec<u8>,
}

/// Message 2 is made; message 3 is awaited, which proves that the member is there now.
#[derive(Clone, Debug)]
pub struct PullOffer {
    pub(super) exchange: Exchange,
    pub(super) compat: Compat,
    pub(super) ni: Vec<u8>,
    pub(super) nr: Vec<u8>,
}

/// Message 3 has verified; message 4 is to be made.
#[derive(Clone, Debug)]
pub struct PullConfirmed {
    pub(super) offer: PullOffer,
}

impl PullServer {
    /// Reads message 1, whose first payload is of type `first`: the state, and the group that the member
    /// names.
    ///
    /// # Errors
    /// It is malformed, does not verify, or names no group.
    pub fn request(
        prf: Prf,
        message_id: u32,
        first: PayloadType,
        octets: &[u8],
    ) -> Result<(Self, NamedGroup), PullError> {
        let exchange = Exchange { prf, message_id };
        let message = exchange.read(1, &[], first, octets, Compat::Standard)?;
        let Payload::Nonce(ni) = message.one(PayloadType::Nonce)? else {
            return Err(message.missing(PayloadType::Nonce));
        };
        let Payload::Identification(id) = message.one(PayloadType::Identification)? else {
            return Err(message.missing(PayloadType::Identification));
        };
        let group = NamedGroup::from_identification(id).ok_or(PullError::Group)?;
        let ni = ni.clone();
        Ok((Self { exchange, ni }, group))
    }

    /// The message ID of the exchange.
    #[must_use]
    pub fn message_id(&self) -> u32 {
        self.exchange.message_id
    }

    /// Message 2, and what awaits the answer to it. What it offers is what [`PullConfirmed::keys`] must
    /// then give keys for.
    ///
    /// # Errors
    /// The policy cannot be sent.
    pub fn offer(
        &self,
        policy: &GroupPolicy,
        compat: Compat,
        random: &mut dyn Random,
    ) -> Result<(PullOffer, EncodedChain), PullError> {
        let mut nr = vec![0; NONCE_LEN];
        random.fill(&mut nr);
        let payloads = [Payload::Nonce(nr.clone()), Payload::GdoiSa(to_sa_payload(policy, compat)?)];
        let message = self.exchange.write(&[&self.ni], &payloads, compat)?;
        Ok((PullOffer { exchange: self.exchange.clone(), compat, ni: self.ni.clone(), nr }, message))
    }
}

impl PullOffer {
    /// The message ID of the exchange.
    #[must_use]
    pub fn message_id(&self) -> u32 {
        self.exchange.message_id
    }

    /// Reads message 3, whose first payload is of type `first`: the state, and how many sender IDs the
    /// member asks for, if it asks. A request for none, which the reference implementation makes, asks for
    /// the one that every sender gets.
    ///
    /// # Errors
    /// It is malformed or does not verify. The exchange goes on as if it had not come.
    pub fn confirmed(
        &self,
        first: PayloadType,
        octets: &[u8],
    ) -> Result<(PullConfirmed, Option<u16>), PullError> {
        let message = self.exchange.read(3, &[&self.ni, &self.nr], first, octets, Compat::Standard)?;
        let requested = match message.at_most_one(PayloadType::Gap)? {
            Some(Payload::Gap(gap)) => gap.attributes.number(GapAttribute::SenderIdRequest),
            _ => None,
        };
        let requested = requested.map(|count| u16::try_from(count.max(1)).unwrap_or(u16::MAX));
        Ok((PullConfirmed { offer: self.clone() }, requested))
    }
}

impl PullConfirmed {
    /// Message 4. `policy` is what message 2 offered; `sequence` is the number of the last PUSH, where
    /// there is a Rekey SA (RFC 6407 section 3.2).
    ///
    /// # Errors
    /// The keys cannot be sent, or are not those of the policy.
    pub fn keys(
        &self,
        policy: &GroupPolicy,
        keys: &GroupKeys,
        sequence: Option<u32>,
    ) -> Result<EncodedChain, PullError> {
        let PullOffer { exchange, compat, ni, nr } = &self.offer;
        let download = Payload::KeyDownload(to_key_download(keys, policy)?);
        let payloads: Vec<Payload> = sequence.map(Payload::Sequence).into_iter().chain([download]).collect();
        Ok(exchange.write(&[ni, nr], &payloads, *compat)?)
    }
}
