//! The Notification and Delete payloads (RFC 2408 sections 3.14 and 3.15).

use super::codec::{Reader, Reason, WireError, Writer};
use super::cookie::Spi;
use super::number::{Doi, NotifyType};

/// The Notification payload.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------------------------------------------------------+
/// !              Domain of Interpretation  (DOI)                  !
/// +---------------+---------------+-------------------------------+
/// !  Protocol-ID  !   SPI Size    !      Notify Message Type      !
/// +---------------+---------------+-------------------------------+
/// ~                Security Parameter Index (SPI)                 ~
/// +---------------------------------------------------------------+
/// ~                       Notification Data                       ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Whose numbers the protocol and the private types are.
    pub doi: Doi,
    /// The protocol: a [`ProtocolId`](super::ProtocolId), also under the GDOI DOI, which has numbers of its
    /// own only for SAT and Delete.
    pub protocol: u8,
    /// What it is about.
    pub notify_type: NotifyType,
    /// The SA: none, four octets for ESP and AH, or the cookies.
    pub spi: Spi,
    /// What the type defines.
    pub data: Vec<u8>,
}

impl Notify {
    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let doi = reader.u32()?.into();
        let protocol = reader.u8()?;
        let spi_size = reader.u8()?;
        let notify_type = reader.u16()?.into();
        let spi = reader.take(spi_size.into())?.into();
        Ok(Self { doi, protocol, notify_type, spi, data: reader.rest().to_vec() })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer) {
        writer.u32(self.doi.number());
        writer.u8(self.protocol);
        writer.count_u8(self.spi.octets().len(), "SPI Size");
        writer.u16(self.notify_type.number());
        writer.put(self.spi.octets());
        writer.put(&self.data);
    }
}

/// The Delete payload.
///
/// ```text
/// +---------------------------------------------------------------+
/// !              Domain of Interpretation  (DOI)                  !
/// +---------------+---------------+-------------------------------+
/// !  Protocol-Id  !   SPI Size    !           # of SPIs           !
/// +---------------+---------------+-------------------------------+
/// ~               Security Parameter Index(es) (SPI)              ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Whose numbers the protocol is.
    pub doi: Doi,
    /// The protocol: a [`GdoiProtocol`](super::GdoiProtocol) in a GROUPKEY-PUSH (RFC 6407 section 5.9), a
    /// [`ProtocolId`](super::ProtocolId) elsewhere.
    pub protocol: u8,
    /// The SAs, all SPIs of one length: four octets for ESP and AH, sixteen for a KEK and for ISAKMP.
    pub spis: Vec<Spi>,
}

impl Delete {
    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short, or longer than its SPIs.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let doi = reader.u32()?.into();
        let protocol = reader.u8()?;
        let spi_size = usize::from(reader.u8()?);
        let count = usize::from(reader.u16()?);
        if reader.left() != spi_size * count {
            let found = reader.left().checked_div(spi_size).unwrap_or(0);
            return Err(reader.error(Reason::Count { counted: count, found }));
        }
        // SPIs of no octets cost the sender nothing: no more than one of them is believed.
        if spi_size == 0 && count > 1 {
            return Err(reader.error(Reason::Length(spi_size)));
        }
        let mut spis = Vec::with_capacity(count);
        for _ in 0..count {
            spis.push(reader.take(spi_size)?.into());
        }
        Ok(Self { doi, protocol, spis })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer) {
        let spi_size = self.spis.first().map_or(0, |spi| spi.octets().len());
        writer.u32(self.doi.number());
        writer.u8(self.protocol);
        writer.count_u8(spi_size, "SPI Size");
        writer.count_u16(self.spis.len(), "# of SPIs");
        for spi in &self.spis {
            if spi.octets().len() != spi_size {
                writer.fail("SPI", Reason::Length(spi.octets().len()));
            }
            writer.put(spi.octets());
        }
    }
}
