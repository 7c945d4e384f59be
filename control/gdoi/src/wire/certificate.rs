//! The Certificate and Certificate Request payloads (RFC 2408 sections 3.9 and 3.10).

use super::codec::{Reader, WireError, Writer};
use super::number::CertEncoding;

/// The Certificate payload.
///
/// ```text
/// +---------------+-----------------------------------------------+
/// ! Cert Encoding !          Certificate Data                     ~
/// +---------------+-----------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What the data is.
    pub encoding: CertEncoding,
    /// The certificate, DER for X.509.
    pub data: Vec<u8>,
}

impl Certificate {
    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is empty.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { encoding: reader.u8()?.into(), data: reader.rest().to_vec() })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer) {
        writer.u8(self.encoding.number());
        writer.put(&self.data);
    }
}

/// The Certificate Request payload.
///
/// ```text
/// +---------------+-----------------------------------------------+
/// !  Cert. Type   !          Certificate Authority                ~
/// +---------------+-----------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// What is asked for.
    pub encoding: CertEncoding,
    /// The DER name of the authority; empty for any.
    pub authority: Vec<u8>,
}

impl CertificateRequest {
    /// Reads the content of the payload.
    ///
    /// # Errors
    /// It is empty.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { encoding: reader.u8()?.into(), authority: reader.rest().to_vec() })
    }

    /// Writes the content of the payload.
    pub fn write(&self, writer: &mut Writer) {
        writer.u8(self.encoding.number());
        writer.put(&self.authority);
    }
}
