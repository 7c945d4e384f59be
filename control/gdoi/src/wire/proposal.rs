//! The SA payload of phase 1 with its proposals and transforms (RFC 2408 sections 3.4 to 3.6).

use super::attribute::Attributes;
use super::codec::{Reader, Reason, WireError, Writer};
use super::cookie::Spi;
use super::number::{Doi, IkeAttribute, PayloadType, ProtocolId};

/// The most proposals read in one SA. Phase 1 has one (RFC 2409 section 5).
const MAX_PROPOSALS: usize = 32;

/// Situations with a secrecy or an integrity level (RFC 2407 section 4.2), whose labels are not read.
const LABELLED: u32 = 2 | 4;

/// The SA payload of phase 1.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------------------------------------------------------+
/// !              Domain of Interpretation  (DOI)                  !
/// +---------------------------------------------------------------+
/// !                           Situation                           !
/// +---------------------------------------------------------------+
/// ~                           Proposals                           ~
/// +---------------------------------------------------------------+
/// ```
///
/// Under the GDOI DOI the layout in phase 1 is the same; only GROUPKEY-PULL and GROUPKEY-PUSH have the
/// other one, [`GdoiSa`](super::GdoiSa).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sa {
    /// The DOI that phase 1 is for.
    pub doi: Doi,
    /// The situation: 1 (identity only) under the IPsec DOI, 0 under GDOI.
    pub situation: u32,
    /// The proposals, at least one.
    pub proposals: Vec<Proposal>,
}

/// One proposal.
///
/// ```text
/// +---------------+---------------+---------------+---------------+
/// !  Proposal #   !  Protocol-Id  !    SPI Size   !# of Transforms!
/// +---------------+---------------+---------------+---------------+
/// ~                        SPI (variable)                         ~
/// +---------------------------------------------------------------+
/// ~                          Transforms                           ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Proposal #.
    pub number: u8,
    /// What is proposed: ISAKMP in phase 1.
    pub protocol: ProtocolId,
    /// Empty in phase 1; some peers send the cookies, which are ignored (RFC 2407 section 4.4.1.1).
    pub spi: Spi,
    /// The transforms in order of preference, at least one.
    pub transforms: Vec<Transform>,
}

/// One transform.
///
/// ```text
/// +---------------+---------------+-------------------------------+
/// !  Transform #  !  Transform-Id !           RESERVED2           !
/// +---------------+---------------+-------------------------------+
/// ~                        SA Attributes                          ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Transform #.
    pub number: u8,
    /// Transform-Id: [`Transform::KEY_IKE`] in phase 1.
    pub id: u8,
    /// What it is made of.
    pub attributes: Attributes<IkeAttribute>,
}

impl Sa {
    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short, has no proposal, or has a situation with labels.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let doi = reader.u32()?.into();
        let situation = reader.u32()?;
        if situation & LABELLED != 0 {
            return Err(reader.error(Reason::Situation(situation)));
        }
        let mut proposals = Vec::new();
        let mut content = reader.remainder("Proposal payload");
        loop {
            if proposals.len() == MAX_PROPOSALS {
                return Err(content.error(Reason::TooMany(MAX_PROPOSALS)));
            }
            let (next, mut proposal) = content.payload("Proposal payload")?;
            proposals.push(Proposal::read(&mut proposal)?);
            match next {
                PayloadType::None => break,
                PayloadType::Proposal => {}
                other => return Err(content.error(Reason::PayloadType(other))),
            }
        }
        content.finish()?;
        Ok(Self { doi, situation, proposals })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer) {
        writer.u32(self.doi.number());
        writer.u32(self.situation);
        if self.proposals.is_empty() {
            writer.fail("Proposal payload", Reason::Missing);
        }
        let mut proposals = self.proposals.iter().peekable();
        while let Some(proposal) = proposals.next() {
            let next = if proposals.peek().is_some() { PayloadType::Proposal } else { PayloadType::None };
            writer.payload(next, "Proposal payload", |writer| proposal.write(writer));
        }
    }
}

impl Proposal {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let number = reader.u8()?;
        let protocol = reader.u8()?.into();
        let spi_size = reader.u8()?;
        let counted = usize::from(reader.u8()?);
        let spi = reader.take(spi_size.into())?.into();
        let mut transforms = Vec::new();
        loop {
            let (next, mut transform) = reader.payload("Transform payload")?;
            transforms.push(Transform::read(&mut transform)?);
            match next {
                PayloadType::None => break,
                PayloadType::Transform if transforms.len() < counted => {}
                PayloadType::Transform => return Err(reader.error(Reason::TooMany(counted))),
                other => return Err(reader.error(Reason::PayloadType(other))),
            }
        }
        if transforms.len() != counted {
            return Err(reader.error(Reason::Count { counted, found: transforms.len() }));
        }
        reader.finish()?;
        Ok(Self { number, protocol, spi, transforms })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(self.number);
        writer.u8(self.protocol.number());
        writer.count_u8(self.spi.octets().len(), "SPI Size");
        writer.count_u8(self.transforms.len(), "# of Transforms");
        writer.put(self.spi.octets());
        if self.transforms.is_empty() {
            writer.fail("Transform payload", Reason::Missing);
        }
        let mut transforms = self.transforms.iter().peekable();
        while let Some(transform) = transforms.next() {
            let next = if transforms.peek().is_some() { PayloadType::Transform } else { PayloadType::None };
            writer.payload(next, "Transform payload", |writer| transform.write(writer));
        }
    }
}

impl Transform {
    /// KEY_IKE, the only transform of phase 1 (RFC 2407 section 4.4.2).
    pub const KEY_IKE: u8 = 1;

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let number = reader.u8()?;
        let id = reader.u8()?;
        // RESERVED2.
        reader.u16()?;
        Ok(Self { number, id, attributes: Attributes::read(reader)? })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(self.number);
        writer.u8(self.id);
        writer.u16(0);
        self.attributes.write(writer);
    }
}
