//! The SA TEK payload (RFC 6407 section 5.5): the policy of one data SA.

use super::Compat;
use super::attribute::Attributes;
use super::codec::{Reader, WireError, Writer};
use super::identification::SelectorId;
use super::number::{AhTransform, EspTransform, GdoiProtocol, IdType, IpsecAttribute};

/// The SA TEK payload, by its Protocol-ID.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+-----------------------------------------------+
/// ! Protocol-ID   !       TEK Protocol-Specific Payload           ~
/// +---------------+-----------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sat {
    /// An ESP SA.
    Esp(Tek<EspTransform>),
    /// An AH SA.
    Ah(Tek<AhTransform>),
    /// A protocol that this code does not read, such as IEC 61850 (RFC 8052), with its protocol-specific
    /// payload.
    Unknown(GdoiProtocol, Vec<u8>),
}

/// The protocol-specific payload of ESP and AH. The RFC's text speaks of a DST ID Prot field; its
/// picture, and everyone's practice, has none.
///
/// ```text
/// +---------------+---------------+-------------------------------+
/// !    Protocol   !  SRC ID Type  !         SRC ID Port           !
/// +---------------+---------------+-------------------------------+
/// !SRC ID Data Len!          SRC Identification Data              ~
/// +---------------+-------------------------------+---------------+
/// ! DST ID Type   !         DST ID Port           !DST ID Data Len!
/// +---------------+-------------------------------+---------------+
/// ! DST Identification Data                                       ~
/// +---------------+-----------------------------------------------+
/// ! Transform ID  !                        SPI                    !
/// +---------------+-----------------------------------------------+
/// !      SPI      !       RFC 2407 SA Attributes                  ~
/// +---------------+-----------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tek<T> {
    /// The IP protocol that the SA protects; zero for any.
    pub protocol: u8,
    /// Whose packets it protects.
    pub source: SelectorId,
    /// Where they go.
    pub destination: SelectorId,
    /// The transform.
    pub transform: T,
    /// The SPI in the packets.
    pub spi: u32,
    /// Lifetime, mode, authentication algorithm, address preservation, direction and what else there is.
    pub attributes: Attributes<IpsecAttribute>,
}

impl Sat {
    /// The Protocol-ID.
    #[must_use]
    pub const fn protocol(&self) -> GdoiProtocol {
        match self {
            Self::Esp(_) => GdoiProtocol::Esp,
            Self::Ah(_) => GdoiProtocol::Ah,
            Self::Unknown(protocol, _) => *protocol,
        }
    }

    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short.
    pub fn read(reader: &mut Reader<'_>, compat: Compat) -> Result<Self, WireError> {
        Ok(match GdoiProtocol::from(reader.u8()?) {
            GdoiProtocol::Esp => Self::Esp(Tek::read(reader, compat)?),
            GdoiProtocol::Ah => Self::Ah(Tek::read(reader, compat)?),
            other => Self::Unknown(other, reader.rest().to_vec()),
        })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer, compat: Compat) {
        writer.u8(self.protocol().number());
        match self {
            Self::Esp(tek) => tek.write(writer, compat),
            Self::Ah(tek) => tek.write(writer, compat),
            Self::Unknown(_, content) => writer.put(content),
        }
    }
}

impl<T: Copy + From<u8> + Into<u8>> Tek<T> {
    fn read(reader: &mut Reader<'_>, compat: Compat) -> Result<Self, WireError> {
        Ok(Self {
            protocol: reader.u8()?,
            source: ordered(SelectorId::read(reader)?, compat),
            destination: ordered(SelectorId::read(reader)?, compat),
            transform: reader.u8()?.into(),
            spi: reader.u32()?,
            attributes: Attributes::read(reader)?,
        })
    }

    fn write(&self, writer: &mut Writer, compat: Compat) {
        writer.u8(self.protocol);
        ordered(self.source.clone(), compat).write(writer);
        ordered(self.destination.clone(), compat).write(writer);
        writer.u8(self.transform.into());
        writer.u32(self.spi);
        self.attributes.write(writer);
    }
}

/// Turns the IPv4 addresses of a SAT round for the reference implementation, which has them in
/// little-endian order. Its own inverse.
fn ordered(mut id: SelectorId, compat: Compat) -> SelectorId {
    let ipv4 = matches!(id.id_type, IdType::Ipv4Addr | IdType::Ipv4AddrSubnet | IdType::Ipv4AddrRange);
    if compat == Compat::Reference && ipv4 {
        id.data.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    }
    id
}
