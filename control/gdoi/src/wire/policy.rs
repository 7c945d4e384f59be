//! The SA payload of GROUPKEY-PULL and GROUPKEY-PUSH with SAK and GAP (RFC 6407 sections 5.2 to 5.4).

use super::Compat;
use super::attribute::Attributes;
use super::codec::{Reader, Reason, WireError, Writer};
use super::cookie::CookiePair;
use super::identification::SelectorId;
use super::number::{Doi, GapAttribute, KekAttribute, PayloadType};
use super::tek::Sat;
use crate::crypto::Secret;

/// The most SA attribute payloads read in one SA. A datagram has room for fewer SATs than this.
const MAX_SA_ATTRIBUTES: usize = 2048;

/// The SA payload of GDOI.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------------------------------------------------------+
/// !                              DOI                              !
/// +---------------------------------------------------------------+
/// !                           Situation                           !
/// +-------------------------------+-------------------------------+
/// ! SA Attribute Next Payload     !          RESERVED2            !
/// +-------------------------------+-------------------------------+
/// ~                    SA attribute payloads                      ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GdoiSa {
    /// The situation, which the RFC has as zero.
    pub situation: u32,
    /// SAK, GAP and SATs in the order in which they came; at most one SAK and one GAP.
    pub attributes: Vec<SaAttribute>,
}

/// One payload inside a GDOI SA payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaAttribute {
    /// Policy of the KEK.
    Sak(Sak),
    /// Policy of the group.
    Gap(Gap),
    /// Policy of one TEK.
    Sat(Sat),
    /// A payload that this code does not know, without its generic header.
    Unknown(PayloadType, Vec<u8>),
}

/// The SA KEK payload.
///
/// ```text
/// +---------------+---------------+-------------------------------+
/// !    Protocol   !  SRC ID Type  !         SRC ID Port           !
/// +---------------+---------------+-------------------------------+
/// !SRC ID Data Len!          SRC Identification Data              ~
/// +---------------+---------------+---------------+---------------+
/// ! DST ID Type   !         DST ID Port           !DST ID Data Len!
/// +---------------+-------------------------------+---------------+
/// !                    DST Identification Data                    ~
/// +---------------------------------------------------------------+
/// ~                        SPI, 16 octets                         ~
/// +---------------------------------------------------------------+
/// !  RESERVED2 (RFC 3547: POP Algorithm, POP Key Length)          !
/// +---------------------------------------------------------------+
/// ~                        KEK Attributes                         ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sak {
    /// The IP protocol of GROUPKEY-PUSH datagrams: 17.
    pub protocol: u8,
    /// Who sends them.
    pub source: SelectorId,
    /// Where they go: the group's address, or a member's.
    pub destination: SelectorId,
    /// The cookies of GROUPKEY-PUSH messages under this KEK.
    pub spi: CookiePair,
    /// POP Algorithm of RFC 3547; zero since RFC 6407.
    pub pop_algorithm: u16,
    /// POP Key Length of RFC 3547; zero since RFC 6407.
    pub pop_key_length: u16,
    /// How GROUPKEY-PUSH messages are protected.
    pub attributes: Attributes<KekAttribute>,
}

/// The Group Associated Policy payload: nothing but attributes. It stands in an SA payload, or by itself
/// in the third message of GROUPKEY-PULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Delays, the number of SIDs that a member asks for, and the key of the SPIs' marks.
    pub attributes: Attributes<GapAttribute, Secret>,
}

impl GdoiSa {
    /// Policy of the KEK, if it is there.
    #[must_use]
    pub fn sak(&self) -> Option<&Sak> {
        self.attributes.iter().find_map(|attribute| match attribute {
            SaAttribute::Sak(sak) => Some(sak),
            _ => None,
        })
    }

    /// Policy of the group, if it is there.
    #[must_use]
    pub fn gap(&self) -> Option<&Gap> {
        self.attributes.iter().find_map(|attribute| match attribute {
            SaAttribute::Gap(gap) => Some(gap),
            _ => None,
        })
    }

    /// Policy of the TEKs in order.
    pub fn sats(&self) -> impl Iterator<Item = &Sat> {
        self.attributes.iter().filter_map(|attribute| match attribute {
            SaAttribute::Sat(sat) => Some(sat),
            _ => None,
        })
    }

    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short, is of another DOI, or has two SAKs or two GAPs.
    pub fn read(reader: &mut Reader<'_>, compat: Compat) -> Result<Self, WireError> {
        let doi = reader.u32()?;
        if doi != Doi::Gdoi.number() {
            return Err(reader.error(Reason::Doi(doi)));
        }
        let situation = reader.u32()?;
        let first = reader.u16()?;
        let Ok(mut next) = u8::try_from(first).map(PayloadType::from) else {
            return Err(reader.error(Reason::TooLong(first.into())));
        };
        // RESERVED2.
        reader.u16()?;
        let mut sa = Self { situation, attributes: Vec::new() };
        while next != PayloadType::None {
            if sa.attributes.len() == MAX_SA_ATTRIBUTES {
                return Err(reader.error(Reason::TooMany(MAX_SA_ATTRIBUTES)));
            }
            let (following, mut content) = reader.payload(SaAttribute::what(next))?;
            let duplicate = match next {
                PayloadType::Sak => sa.sak().is_some(),
                PayloadType::Gap => sa.gap().is_some(),
                _ => false,
            };
            if duplicate {
                return Err(content.error(Reason::Duplicate));
            }
            sa.attributes.push(SaAttribute::read(next, &mut content, compat)?);
            next = following;
        }
        reader.finish()?;
        Ok(sa)
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer, compat: Compat) {
        let first = self.attributes.first().map_or(PayloadType::None, SaAttribute::payload_type);
        writer.u32(Doi::Gdoi.number());
        writer.u32(self.situation);
        writer.u16(first.number().into());
        writer.u16(0);
        let mut attributes = self.attributes.iter().peekable();
        while let Some(attribute) = attributes.next() {
            let next = attributes.peek().map_or(PayloadType::None, |next| next.payload_type());
            let what = SaAttribute::what(attribute.payload_type());
            writer.payload(next, what, |writer| attribute.write(writer, compat));
        }
    }
}

impl SaAttribute {
    /// The payload's type.
    #[must_use]
    pub const fn payload_type(&self) -> PayloadType {
        match self {
            Self::Sak(_) => PayloadType::Sak,
            Self::Gap(_) => PayloadType::Gap,
            Self::Sat(_) => PayloadType::Sat,
            Self::Unknown(payload_type, _) => *payload_type,
        }
    }

    const fn what(payload_type: PayloadType) -> &'static str {
        match payload_type {
            PayloadType::Sak => "SA KEK payload",
            PayloadType::Gap => "Group Associated Policy payload",
            PayloadType::Sat => "SA TEK payload",
            _ => "SA attribute payload",
        }
    }

    fn read(payload_type: PayloadType, reader: &mut Reader<'_>, compat: Compat) -> Result<Self, WireError> {
        Ok(match payload_type {
            PayloadType::Sak => Self::Sak(Sak::read(reader, compat)?),
            PayloadType::Gap => Self::Gap(Gap::read(reader)?),
            PayloadType::Sat => Self::Sat(Sat::read(reader, compat)?),
            other => Self::Unknown(other, reader.rest().to_vec()),
        })
    }

    fn write(&self, writer: &mut Writer, compat: Compat) {
        match self {
            Self::Sak(sak) => sak.write(writer, compat),
            Self::Gap(gap) => gap.write(writer),
            Self::Sat(sat) => sat.write(writer, compat),
            Self::Unknown(_, content) => writer.put(content),
        }
    }
}

impl Sak {
    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short.
    pub fn read(reader: &mut Reader<'_>, compat: Compat) -> Result<Self, WireError> {
        let protocol = reader.u8()?;
        let source = SelectorId::read(reader)?;
        let destination = SelectorId::read(reader)?;
        let spi = reader.array::<16>()?.into();
        let pop_algorithm = reader.u16()?;
        let pop_key_length = reader.u16()?;
        if compat == Compat::Reference {
            reader.u16()?;
        }
        let attributes = Attributes::read(reader)?;
        Ok(Self { protocol, source, destination, spi, pop_algorithm, pop_key_length, attributes })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer, compat: Compat) {
        writer.u8(self.protocol);
        self.source.write(writer);
        self.destination.write(writer);
        writer.put(&self.spi.octets());
        writer.u16(self.pop_algorithm);
        writer.u16(self.pop_key_length);
        if compat == Compat::Reference {
            writer.u16(0);
        }
        self.attributes.write(writer);
    }
}

impl Gap {
    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { attributes: Attributes::read(reader)? })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer) {
        self.attributes.write(writer);
    }
}
