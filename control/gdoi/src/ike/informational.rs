//! The Informational exchange: notifications and Deletes, protected by HASH(1) (RFC 2409 section 5.7), and
//! notifications in the clear, which are hints and nothing more.

use super::protection::Protection;
use super::{IkeError, Prf};
use crate::group::{EspSpi, KekSpi};
use crate::wire::{
    Body, Compat, CookiePair, Delete, Doi, ExchangeType, Flags, GdoiProtocol, Header, Notify, NotifyType,
    Payload, PayloadType, ProtocolId, Spi, encode_chain,
};

/// One thing that an Informational message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// INVALID-SPI: the sender got an ESP SPI that it has no SA for.
    InvalidSpi(EspSpi),
    /// The sender has deleted this phase 1.
    DeleteIkeSa(CookiePair),
    /// The sender has deleted these ESP SAs.
    DeleteEsp(Vec<EspSpi>),
    /// The sender has deleted these Rekey SAs.
    DeleteKek(Vec<KekSpi>),
    /// Is the peer there (RFC 3706)? With the number of the question.
    RUThere(u32),
    /// It is (RFC 3706).
    RUThereAck(u32),
    /// The sender has no other phase 1 with us.
    InitialContact,
    /// Any other notification: most are errors.
    Other {
        /// What it is about.
        notify: NotifyType,
        /// The protocol of the SA that it is about.
        protocol: u8,
        /// That SA.
        spi: Spi,
        /// What the type defines.
        data: Vec<u8>,
    },
}

impl Notice {
    /// A notification that concerns the phase 1 as a whole, such as the refusal of a registration.
    #[must_use]
    pub fn about_ike_sa(notify: NotifyType, cookies: CookiePair) -> Self {
        Self::Other { notify, protocol: ProtocolId::Isakmp.number(), spi: cookies.into(), data: Vec::new() }
    }

    /// As a payload. `doi` is the one that the phase 1 was made under. What the IPsec DOI defines goes out
    /// under that, whatever the phase 1's (RFC 3706 section 5.4; it is what other makers send and expect).
    pub(super) fn to_payload(&self, doi: Doi, cookies: CookiePair) -> Payload {
        let notify = |doi, protocol, notify_type, spi, data: &[u8]| {
            Payload::Notify(Notify { doi, protocol, notify_type, spi, data: data.to_vec() })
        };
        let isakmp = ProtocolId::Isakmp.number();
        match self {
            Self::InvalidSpi(spi) => {
                let esp = ProtocolId::Esp.number();
                notify(Doi::Gdoi, esp, NotifyType::InvalidSpi, spi.0.into(), &[])
            }
            Self::DeleteIkeSa(deleted) => {
                Payload::Delete(Delete { doi, protocol: isakmp, spis: vec![(*deleted).into()] })
            }
            Self::DeleteEsp(spis) => Payload::Delete(Delete {
                doi: Doi::Gdoi,
                protocol: GdoiProtocol::Esp.number(),
                spis: spis.iter().map(|spi| spi.0.into()).collect(),
            }),
            Self::DeleteKek(spis) => Payload::Delete(Delete {
                doi: Doi::Gdoi,
                protocol: GdoiProtocol::Kek.number(),
                spis: spis.iter().map(|spi| spi.0.as_slice().into()).collect(),
            }),
            Self::RUThere(sequence) => {
                notify(Doi::Ipsec, isakmp, NotifyType::RUThere, cookies.into(), &sequence.to_be_bytes())
            }
            Self::RUThereAck(sequence) => {
                notify(Doi::Ipsec, isakmp, NotifyType::RUThereAck, cookies.into(), &sequence.to_be_bytes())
            }
            Self::InitialContact => {
                notify(Doi::Ipsec, isakmp, NotifyType::InitialContact, cookies.into(), &[])
            }
            Self::Other { notify: notify_type, protocol, spi, data } => {
                notify(doi, *protocol, *notify_type, spi.clone(), data)
            }
        }
    }

    /// What a Notification says. DPD's must name the phase 1 that they come over (RFC 3706 section 5.4).
    fn of_notify(notify: &Notify, cookies: CookiePair) -> Self {
        let sequence = || notify.data.as_slice().try_into().ok().map(u32::from_be_bytes);
        let ours = notify.spi.as_cookies() == Some(cookies);
        let known = match notify.notify_type {
            NotifyType::InvalidSpi => invalid_spi(notify).map(Self::InvalidSpi),
            NotifyType::RUThere if ours => sequence().map(Self::RUThere),
            NotifyType::RUThereAck if ours => sequence().map(Self::RUThereAck),
            NotifyType::InitialContact => Some(Self::InitialContact),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other {
            notify: notify.notify_type,
            protocol: notify.protocol,
            spi: notify.spi.clone(),
            data: notify.data.clone(),
        })
    }

    /// What a Delete says: ISAKMP's protocol number is ESP's under the GDOI DOI, so the length of the SPIs
    /// decides. Nothing if it names neither.
    fn of_delete(delete: &Delete) -> Vec<Self> {
        let cookies = || delete.spis.iter().filter_map(Spi::as_cookies);
        let esp = is_esp(delete.doi, delete.protocol);
        let spis: Vec<_> = delete.spis.iter().filter_map(Spi::as_u32).map(EspSpi).collect();
        if esp && !spis.is_empty() {
            return vec![Self::DeleteEsp(spis)];
        }
        if delete.protocol == ProtocolId::Isakmp.number() {
            return cookies().map(Self::DeleteIkeSa).collect();
        }
        let keks: Vec<_> = cookies().map(|pair| KekSpi(pair.octets())).collect();
        if delete.doi == Doi::Gdoi && delete.protocol == GdoiProtocol::Kek.number() && !keks.is_empty() {
            return vec![Self::DeleteKek(keks)];
        }
        Vec::new()
    }
}

/// The SPI stands in its field; some peers repeat or move it into the data (RFC 2408 section 3.14 leaves
/// that open).
fn invalid_spi(notify: &Notify) -> Option<EspSpi> {
    if !is_esp(notify.doi, notify.protocol) {
        return None;
    }
    let in_data = || notify.data.as_slice().try_into().ok().map(u32::from_be_bytes);
    notify.spi.as_u32().or_else(in_data).map(EspSpi)
}

/// ESP is 3 in the IPsec DOI and 1 in GDOI's; members use either under GDOI's.
fn is_esp(doi: Doi, protocol: u8) -> bool {
    protocol == ProtocolId::Esp.number() || doi == Doi::Gdoi && protocol == GdoiProtocol::Esp.number()
}

/// A protected Informational message.
pub(super) struct Informational;

impl Informational {
    pub(super) fn build(
        notices: &[Notice],
        doi: Doi,
        protection: &Protection,
        message_id: u32,
    ) -> Result<Vec<u8>, IkeError> {
        let payloads: Vec<_> =
            notices.iter().map(|notice| notice.to_payload(doi, protection.cookies)).collect();
        let rest = encode_chain(&payloads, PayloadType::None, Compat::Standard)?;
        let hash = protection.prf.hash(message_id, &[&rest.octets]);
        let hash = encode_chain(&[Payload::Hash(hash.to_vec())], rest.first, Compat::Standard)?;
        let body = [hash.octets.as_slice(), &rest.octets].concat();
        let mut iv = protection.phase2_iv(message_id);
        protection.seal(ExchangeType::Informational, message_id, &mut iv, hash.first, &body)
    }

    /// The message ID and what the message says.
    pub(super) fn open(datagram: &[u8], protection: &Protection) -> Result<(u32, Vec<Notice>), IkeError> {
        let (header, _) = crate::wire::split_datagram(datagram)?;
        if header.exchange != ExchangeType::Informational {
            return Err(IkeError::Exchange(header.exchange));
        }
        let (opened, _) = protection.open(datagram, &protection.phase2_iv(header.message_id))?;
        // What does not decrypt has a wrong HASH, even if it does not even look like payloads.
        let body = Body::decode(opened.first_payload, opened.exchange, &opened.body, Compat::Standard)
            .map_err(|_| IkeError::InformationalHash)?;
        verify(&protection.prf, opened.message_id, &body)?;
        let mut notices = Vec::new();
        for located in body.payloads() {
            match &located.payload {
                Payload::Notify(notify) => notices.push(Notice::of_notify(notify, protection.cookies)),
                Payload::Delete(delete) => notices.extend(Notice::of_delete(delete)),
                _ => {}
            }
        }
        Ok((opened.message_id, notices))
    }
}

/// HASH(1) stands first and covers all that follows; message ID 0 is phase 1's.
fn verify(prf: &Prf, message_id: u32, body: &Body<'_>) -> Result<(), IkeError> {
    let Some(first) = body.payloads().first() else { return Err(IkeError::InformationalHash) };
    match &first.payload {
        Payload::Hash(hash)
            if message_id != 0 && prf.hash(message_id, &[body.after(first)]) == hash.as_slice() =>
        {
            Ok(())
        }
        _ => Err(IkeError::InformationalHash),
    }
}

/// A notification in the clear: for a peer that has no phase 1 with us, or not yet. To it this is a hint.
///
/// # Errors
/// None that these arguments are known to cause.
pub fn unprotected_notify(cookies: CookiePair, notify: NotifyType) -> Result<Vec<u8>, IkeError> {
    let payload = Payload::Notify(Notify {
        doi: Doi::Gdoi,
        protocol: ProtocolId::Isakmp.number(),
        notify_type: notify,
        spi: cookies.into(),
        data: Vec::new(),
    });
    let chain = encode_chain(&[payload], PayloadType::None, Compat::Standard)?;
    let header = Header::new(cookies, chain.first, ExchangeType::Informational, Flags::NONE, 0);
    Ok(header.datagram(&chain.octets)?)
}

/// What a notification in the clear says: its first one. Anybody can have sent it.
#[must_use]
pub fn unprotected_hint(header: &Header, body: &[u8]) -> Option<NotifyType> {
    if header.exchange != ExchangeType::Informational || header.flags != Flags::NONE {
        return None;
    }
    let body = Body::decode(header.next_payload, header.exchange, body, Compat::Standard).ok()?;
    body.payloads().iter().find_map(|located| match &located.payload {
        Payload::Notify(notify) => Some(notify.notify_type),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
