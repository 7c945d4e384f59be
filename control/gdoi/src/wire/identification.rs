//! Identities: the ID payload, and the shorter form that SAK and SAT use.

use super::codec::{Reader, WireError, Writer};
use super::number::IdType;

/// The Identification payload (RFC 2407 section 4.6.2).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+---------------+-------------------------------+
/// !   ID Type     !  Protocol ID  !             Port              !
/// +---------------+---------------+-------------------------------+
/// ~                     Identification Data                       ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identification {
    /// What the data is.
    pub id_type: IdType,
    /// The IP protocol: 0 or UDP's 17 in phase 1, 0 for a group (RFC 6407 section 5.1).
    pub protocol: u8,
    /// The port: 0, 500 or 848 in phase 1, 0 for a group.
    pub port: u16,
    /// The identity.
    pub data: Vec<u8>,
}

impl Identification {
    /// An identity with no protocol and port.
    #[must_use]
    pub fn new(id_type: IdType, data: impl Into<Vec<u8>>) -> Self {
        Self { id_type, protocol: 0, port: 0, data: data.into() }
    }

    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is cut short.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            id_type: reader.u8()?.into(),
            protocol: reader.u8()?,
            port: reader.u16()?,
            data: reader.rest().to_vec(),
        })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer) {
        writer.u8(self.id_type.number());
        writer.u8(self.protocol);
        writer.u16(self.port);
        writer.put(&self.data);
    }
}

/// Source or destination of a SAK or SAT (RFC 6407 sections 5.3 and 5.5.1).
///
/// ```text
/// +---------------+-------------------------------+---------------+
/// !    ID Type    !            ID Port            !  ID Data Len  !
/// +---------------+-------------------------------+---------------+
/// ~                     Identification Data                       ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SelectorId {
    /// What the data is.
    pub id_type: IdType,
    /// The port; zero for any.
    pub port: u16,
    /// The identity, at most 255 octets. Three zero octets for any source (RFC 6407 section 5.5.1).
    pub data: Vec<u8>,
}

impl SelectorId {
    /// Reads the fields.
    ///
    /// # Errors
    /// They are cut short.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let id_type = reader.u8()?.into();
        let port = reader.u16()?;
        let len = reader.u8()?;
        Ok(Self { id_type, port, data: reader.take(len.into())?.to_vec() })
    }

    /// Writes the fields.
    pub fn write(&self, writer: &mut Writer) {
        writer.u8(self.id_type.number());
        writer.u16(self.port);
        writer.count_u8(self.data.len(), "ID Data Len");
        writer.put(&self.data);
    }
}
