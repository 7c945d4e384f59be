//! The keys of SAs: the reply to `sa export`, and the only one with keys.

use crate::Spi;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The reply to `sa export`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExportedSas {
    /// The SAs, the oldest first.
    pub sas: Vec<ExportedSa>,
}

/// An SA with its keys.
#[derive(Serialize, Deserialize)]
pub struct ExportedSa {
    /// Its SPI.
    pub spi: Spi,
    /// Its group.
    pub group: String,
    /// Its transform.
    pub transform: String,
    /// The cipher's key, with the salt behind it for the counter modes, as hexadecimal digits.
    pub key: String,
    /// The HMAC's key, likewise; empty for combined modes.
    pub integrity_key: String,
}

impl fmt::Debug for ExportedSa {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportedSa({}, {})", self.spi, self.transform)
    }
}
