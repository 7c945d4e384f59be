//! The keys of an SA as the control thread keeps them, for `sa export` alone. Never formatted; wiped when
//! dropped.

use getvpn_ctl::reply::ExportedSa;
use getvpn_ctl::{Fault, Spi};
use getvpn_dataplane::SaParams;
use std::fmt::{self, Write};
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::answers::no_sa;
use crate::sad::{Entry, Sad};

/// The keys of one SA.
#[derive(Clone)]
pub struct Keys(Arc<Pair>);

struct Pair {
    cipher: Zeroizing<Vec<u8>>,
    integrity: Zeroizing<Vec<u8>>,
}

impl Keys {
    /// Those that an SA is made with.
    #[must_use]
    pub fn of(params: &SaParams) -> Self {
        let (cipher, integrity) = (params.key.clone(), params.integrity_key.clone());
        Self(Arc::new(Pair { cipher, integrity }))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// The SAs of these SPIs with their keys, all of them where none is named.
///
/// # Errors
/// When one of them has no SA.
pub fn export(sad: &Sad, spis: &[Spi]) -> Result<Vec<ExportedSa>, Fault> {
    let of = |entry: &Entry| ExportedSa {
        spi: Spi(entry.sa.spi()),
        group: sad.group_name(&entry.sa).into(),
        transform: entry.sa.transform().name().into(),
        key: digits(&entry.keys.0.cipher),
        integrity_key: digits(&entry.keys.0.integrity),
    };
    if spis.is_empty() {
        return Ok(sad.entries().iter().map(of).collect());
    }
    spis.iter().map(|spi| sad.find(spi.0).map(of).ok_or_else(|| no_sa(*spi))).collect()
}

fn digits(octets: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * octets.len());
    for octet in octets {
        let _ = write!(digits, "{octet:02x}");
    }
    digits
}
