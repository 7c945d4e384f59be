//! Phase 1: IKEv1 main mode for initiator and responder (RFC 2409), and what runs over it apart from the
//! GDOI exchanges: encryption with its chain of IVs, the Informational exchange, dead peer detection.
//!
//! [`MainMode`] makes an [`IkeSa`]. Nothing here does I/O or reads a clock. Nothing that is unauthenticated
//! changes the state of an established phase 1.

mod config;
mod credentials;
mod dpd;
mod error;
mod identity;
mod informational;
mod keys;
mod main_mode;
mod peer;
mod prf;
mod protection;
mod retransmission;
mod sa;
mod suite;
mod vendor;

pub use config::{DEFAULT_LIFETIME, InitiatorConfig, Peers, ResponderConfig, Timing};
pub use credentials::{CertificateCredentials, Credentials, CredentialsError};
pub use dpd::{DeadPeerDetection, DpdAction, DpdError, DpdTiming};
pub use error::{IkeError, Refusal};
pub use identity::{DistinguishedName, DomainName, Identity, IdentityError, MAX_IDENTITY_LEN};
pub use informational::{Notice, unprotected_hint, unprotected_notify};
pub use keys::Iv;
pub use main_mode::{MainMode, Progress};
pub use peer::{Method, PeerInfo, PeerTag};
pub use prf::Prf;
pub use protection::Opened;
pub use sa::{IkeSa, Role};
pub use suite::{Cipher, Suite, UnknownSuite};

use informational::Informational;
