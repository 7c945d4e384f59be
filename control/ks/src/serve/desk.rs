//! What an endpoint asks goes to the authority, and what the authority decides back to the endpoint.

use super::Directory;
use crate::core::{self, Authority, Count, Now, Proof, PullRef, Refusal};
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::{GroupKeys, GroupPolicy};
use getvpn_gdoi::ike::Method;
use getvpn_gdoi::push::Ack;
use getvpn_gdoi::server::{Peer, PullId, Server, ServerEvent};
use getvpn_gdoi::wire::{Compat, NotifyType};
use std::net::SocketAddr;
use std::time::Instant;

/// Gives the authority what an endpoint has to say; `shard` is the endpoint's number.
pub fn take_event(
    authority: &mut Authority,
    directory: &Directory,
    now: Now,
    shard: u16,
    event: ServerEvent,
    random: &mut dyn Random,
) {
    let reference = |pull| PullRef { shard, pull };
    match event {
        ServerEvent::PullRequested { pull, peer, group } => {
            let group = authority.named(group);
            authority.pull_requested(now, reference(pull), known(directory, &peer), group);
        }
        ServerEvent::PullConfirmed { pull, peer, sender_ids_wanted } => {
            authority.pull_confirmed(now, reference(pull), peer.info.address, sender_ids_wanted, random);
        }
        ServerEvent::PullAbandoned(pull) => authority.pull_gone(reference(pull)),
        ServerEvent::InvalidSpi { peer, spi } => {
            authority.invalid_spi(now, &known(directory, &peer), spi, random);
        }
        ServerEvent::Ack { from, datagram } => acknowledgement(authority, now, from, &datagram, random),
        // That a phase 1 has ended says nothing about the group: many makes delete it after registering.
        ServerEvent::Established(_)
        | ServerEvent::Ended { .. }
        | ServerEvent::Hint { .. }
        | ServerEvent::Refused { .. } => {}
    }
}

fn known(directory: &Directory, peer: &Peer) -> core::Peer {
    let info = &peer.info;
    let proof = match info.method {
        Method::PreSharedKey => Proof::PreShared { identity: info.identity.to_string() },
        Method::Rsa | Method::EcdsaP256 | Method::EcdsaP384 => {
            let entry = info.tag.and_then(|tag| directory.name(tag));
            Proof::Certificate { names: entry.into_iter().chain(info.subject.clone()).collect() }
        }
    };
    core::Peer { address: info.address, local: peer.local, proof, is_getvpn: info.is_getvpn }
}

fn acknowledgement(
    authority: &mut Authority,
    now: Now,
    from: SocketAddr,
    datagram: &[u8],
    random: &mut dyn Random,
) {
    let Ok(ack) = Ack::parse(datagram) else { return authority.count(now, from, Count::AckMalformed) };
    let Some((kek, request)) = authority.acknowledged_under(ack.kek()) else {
        return authority.count(now, from, Count::AckUnknown);
    };
    match ack.verify(kek.spi, &kek.keys, request) {
        Ok(ack) => authority.acknowledged(now, from, ack.kek, ack.sequence, random),
        Err(_) => authority.count(now, from, Count::AckForged),
    }
}

/// What an endpoint is to do.
#[derive(Debug)]
pub enum Order {
    /// Send message 2.
    Offer(PullId, GroupPolicy, Compat),
    /// Send message 4.
    Keys(PullId, GroupPolicy, GroupKeys, u32),
    /// Refuse a registration.
    Refuse(PullId, Refusal),
    /// End a peer's phase 1s.
    Close(SocketAddr),
}

/// Has an endpoint do it.
pub fn carry_out(server: &mut Server, now: Instant, order: Order, random: &mut dyn Random) {
    match order {
        Order::Offer(pull, policy, compat) => server.offer(pull, now, &policy, compat, random),
        Order::Keys(pull, policy, keys, sequence) => server.keys(pull, now, &policy, &keys, Some(sequence)),
        Order::Refuse(pull, why) => server.refuse_pull(pull, now, notification(why), random),
        Order::Close(address) => server.close_peer(address, random),
    }
}

/// What a member is told: whether it may not, or may try again.
fn notification(why: Refusal) -> NotifyType {
    match why {
        Refusal::UnknownGroup
        | Refusal::UnknownPeer
        | Refusal::NotItsGroup
        | Refusal::Removed
        | Refusal::NameTooLong => NotifyType::InvalidIdInformation,
        Refusal::TooManySenderIds => NotifyType::AttributesNotSupported,
        Refusal::SenderIdsUsedUp | Refusal::GroupFull | Refusal::Busy | Refusal::OfferEnded => {
            NotifyType::NoProposalChosen
        }
    }
}
