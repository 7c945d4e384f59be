//! One GROUPKEY-PULL in progress, as datagrams over a phase 1: its chain of IVs, which moves only when a
//! message has verified, and its retransmissions.

use super::event::RegistrationError;
use super::recovery::jittered;
use crate::crypto::Random;
use crate::group::{GroupId, KekKeys, KekPolicy};
use crate::ike::{IkeSa, Iv, Timing};
use crate::pull::{Offered, PullAccept, PullClient, Pulled};
use crate::wire::{Compat, EncodedChain, ExchangeType};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Registering {
    message_id: u32,
    /// Of the next message that comes.
    iv: Iv,
    awaits: Awaits,
    /// The last message that was sent.
    message: Vec<u8>,
    sent: u32,
    wait: Duration,
    due: Instant,
}

#[derive(Debug)]
enum Awaits {
    Offer(PullClient),
    /// Message 2 is there, and message 3 is to be made.
    Confirmation(PullAccept),
    Keys(PullAccept),
}

/// What a message brought.
#[derive(Debug)]
pub(super) enum Brought {
    /// Message 2. [`Registering::confirm`] goes on.
    Offer(Box<Offered>),
    /// Message 4: the exchange is over.
    Keys(Box<Pulled>),
    /// Nothing: it does not verify, or came a second time.
    Nothing,
}

impl Registering {
    /// Begins; the message is to be sent.
    pub(super) fn begin(
        sa: &mut IkeSa,
        group: GroupId,
        compat: Compat,
        wait: Duration,
        now: Instant,
        random: &mut dyn Random,
    ) -> Result<(Self, Vec<u8>), RegistrationError> {
        let message_id = sa.new_message_id(random);
        let (client, body) = PullClient::start(sa.prf().clone(), message_id, group, compat, random)?;
        let mut iv = sa.phase2_iv(message_id);
        let message = seal(sa, message_id, &mut iv, &body)?;
        let due = now + jittered(wait, random);
        let awaits = Awaits::Offer(client);
        Ok((Self { message_id, iv, awaits, message: message.clone(), sent: 1, wait, due }, message))
    }

    pub(super) fn message_id(&self) -> u32 {
        self.message_id
    }

    /// Whether it has been answered at all.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self.awaits, Awaits::Offer(_))
    }

    /// Takes a datagram of this exchange.
    pub(super) fn handle(
        &mut self,
        sa: &IkeSa,
        datagram: &[u8],
        held: Option<(&KekPolicy, &KekKeys)>,
    ) -> Brought {
        let Ok((opened, next)) = sa.open(datagram, &self.iv) else { return Brought::Nothing };
        match &self.awaits {
            Awaits::Offer(client) => match client.policy(opened.first_payload, &opened.body) {
                Ok(offered) => {
                    self.iv = next;
                    self.awaits = Awaits::Confirmation(offered.accept.clone());
                    Brought::Offer(Box::new(offered))
                }
                Err(_) => Brought::Nothing,
            },
            Awaits::Keys(accept) => match accept.keys(held, opened.first_payload, &opened.body) {
                Ok(pulled) => Brought::Keys(Box::new(pulled)),
                Err(_) => Brought::Nothing,
            },
            Awaits::Confirmation(_) => Brought::Nothing,
        }
    }

    /// Message 3, to be sent.
    pub(super) fn confirm(
        &mut self,
        sa: &IkeSa,
        sender_ids: Option<u16>,
        wait: Duration,
        now: Instant,
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, RegistrationError> {
        let (Awaits::Confirmation(accept) | Awaits::Keys(accept)) = &self.awaits else {
            return Ok(self.message.clone());
        };
        self.message = seal(sa, self.message_id, &mut self.iv, &accept.confirm(sender_ids)?)?;
        self.awaits = Awaits::Keys(accept.clone());
        (self.sent, self.wait, self.due) = (1, wait, now + jittered(wait, random));
        Ok(self.message.clone())
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The last message again, if it is time; an error when that was often enough.
    pub(super) fn again(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
    ) -> Result<Option<Vec<u8>>, RegistrationError> {
        if now < self.due {
            return Ok(None);
        }
        if self.sent >= Timing::TRIES {
            return Err(RegistrationError::Timeout);
        }
        self.sent += 1;
        self.wait = (self.wait * 2).min(Timing::LONGEST_RETRANSMIT);
        self.due = now + jittered(self.wait, random);
        Ok(Some(self.message.clone()))
    }
}

fn seal(sa: &IkeSa, message_id: u32, iv: &mut Iv, body: &EncodedChain) -> Result<Vec<u8>, RegistrationError> {
    Ok(sa.seal(ExchangeType::GroupkeyPull, message_id, iv, body.first, &body.octets)?)
}
