//! The Key Download payload (RFC 6407 section 5.6). What it carries is zeroised when dropped and not
//! shown by Debug.

use super::Compat;
use super::attribute::{AttributeValue, Attributes};
use super::codec::{Reader, Reason, WireError, Writer};
use super::cookie::Spi;
use super::number::{KdType, KekKeyAttribute, LkhKeyAttribute, SidAttribute, TekKeyAttribute};
use crate::crypto::Secret;

/// The most key packets read in one payload. A datagram has room for fewer TEKs than this.
const MAX_KEY_PACKETS: usize = 2048;

/// The Key Download payload.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// ! Number of Key Packets         !            RESERVED2          !
/// +-------------------------------+-------------------------------+
/// ~                    Key Packets                                ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDownload {
    /// The key packets in order.
    pub packets: Vec<KeyPacket>,
}

/// One key packet, by its KD Type.
///
/// ```text
/// +---------------+---------------+-------------------------------+
/// !   KD Type     !   RESERVED    !            KD Length          !
/// +---------------+---------------+-------------------------------+
/// !    SPI Size   !                   SPI (variable)              ~
/// +---------------+-----------------------------------------------+
/// ~                    Key Packet Attributes                      ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPacket {
    /// Keys of a data SA; the SPI has four octets.
    Tek(Keys<TekKeyAttribute>),
    /// Keys of the rekey SA; the SPI is the cookie pair.
    Kek(Keys<KekKeyAttribute>),
    /// An array of keys of a logical key hierarchy.
    Lkh(Keys<LkhKeyAttribute>),
    /// Sender IDs; there is no SPI.
    Sid(Keys<SidAttribute>),
    /// A type that this code does not know; its classes are plain numbers.
    Unknown(KdType, Keys<u16>),
}

/// What a key packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys<C> {
    /// The SA that the keys are for.
    pub spi: Spi,
    /// The keys.
    pub attributes: Attributes<C, Secret>,
}

impl KeyDownload {
    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short, or its packets are not as many as it says.
    pub fn read(reader: &mut Reader<'_>, compat: Compat) -> Result<Self, WireError> {
        let counted = usize::from(reader.u16()?);
        // RESERVED2.
        reader.u16()?;
        let mut packets = Vec::new();
        while !reader.is_empty() {
            if packets.len() == MAX_KEY_PACKETS {
                return Err(reader.error(Reason::TooMany(MAX_KEY_PACKETS)));
            }
            packets.push(KeyPacket::read(reader, compat)?);
        }
        if packets.len() != counted {
            return Err(reader.error(Reason::Count { counted, found: packets.len() }));
        }
        Ok(Self { packets })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer, compat: Compat) {
        writer.count_u16(self.packets.len(), "Number of Key Packets");
        writer.u16(0);
        for packet in &self.packets {
            packet.write(writer, compat);
        }
    }
}

/// Octets of a key packet before its SPI: type, reserved, length, SPI size.
const PACKET_HEADER_LEN: usize = 5;

impl KeyPacket {
    /// The KD Type.
    #[must_use]
    pub const fn kd_type(&self) -> KdType {
        match self {
            Self::Tek(_) => KdType::Tek,
            Self::Kek(_) => KdType::Kek,
            Self::Lkh(_) => KdType::Lkh,
            Self::Sid(_) => KdType::Sid,
            Self::Unknown(kd_type, _) => *kd_type,
        }
    }

    /// The SPI, which is empty in a SID packet.
    #[must_use]
    pub const fn spi(&self) -> &Spi {
        match self {
            Self::Tek(keys) => &keys.spi,
            Self::Kek(keys) => &keys.spi,
            Self::Lkh(keys) => &keys.spi,
            Self::Sid(keys) => &keys.spi,
            Self::Unknown(_, keys) => &keys.spi,
        }
    }

    fn read(reader: &mut Reader<'_>, compat: Compat) -> Result<Self, WireError> {
        let kd_type = KdType::from(reader.u8()?);
        reader.u8()?;
        let length = usize::from(reader.u16()?);
        let Some(left) = length.checked_sub(PACKET_HEADER_LEN - 1) else {
            return Err(reader.error(Reason::Length(length)));
        };
        let mut content = reader.part(left, "Key Packet")?;
        let spi_size = content.u8()?;
        let spi = content.take(spi_size.into())?.into();
        Ok(match kd_type {
            KdType::Tek => Self::Tek(Keys { spi, attributes: Attributes::read(&mut content)? }),
            KdType::Kek => Self::Kek(Keys { spi, attributes: Attributes::read(&mut content)? }),
            KdType::Lkh => Self::Lkh(Keys { spi, attributes: Attributes::read(&mut content)? }),
            KdType::Sid => {
                Self::Sid(Keys { spi, attributes: ordered(Attributes::read(&mut content)?, compat) })
            }
            KdType::Unknown(_) => {
                Self::Unknown(kd_type, Keys { spi, attributes: Attributes::read(&mut content)? })
            }
        })
    }

    fn write(&self, writer: &mut Writer, compat: Compat) {
        let start = writer.len();
        writer.u8(self.kd_type().number());
        writer.u8(0);
        writer.measured(start, "Key Packet", |writer| {
            writer.count_u8(self.spi().octets().len(), "SPI Size");
            writer.put(self.spi().octets());
            match self {
                Self::Tek(keys) => keys.attributes.write(writer),
                Self::Kek(keys) => keys.attributes.write(writer),
                Self::Lkh(keys) => keys.attributes.write(writer),
                Self::Sid(keys) => ordered(keys.attributes.clone(), compat).write(writer),
                Self::Unknown(_, keys) => keys.attributes.write(writer),
            }
        });
    }
}

/// Turns SID values round for the reference implementation, which has them in little-endian order. Its
/// own inverse.
fn ordered(
    mut attributes: Attributes<SidAttribute, Secret>,
    compat: Compat,
) -> Attributes<SidAttribute, Secret> {
    if compat == Compat::Reference {
        for attribute in &mut attributes.0 {
            if let (SidAttribute::SidValue, AttributeValue::Variable(octets)) =
                (attribute.class, &mut attribute.value)
            {
                *octets = Secret::new(octets.iter().rev().copied().collect());
            }
        }
    }
    attributes
}
