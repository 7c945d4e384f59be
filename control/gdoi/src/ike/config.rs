//! What a side of phase 1 is told: which suites, who it is, whom it expects, how patient it is.

use super::{CertificateCredentials, Credentials, Identity, PeerInfo, PeerTag, Suite};
use crate::crypto::Secret;
use crate::crypto::x509::PeerCertificate;
use crate::wire::Doi;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a phase 1 lives unless a configuration says otherwise.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(86_400);

/// What an initiator is told.
#[derive(Clone, Debug)]
pub struct InitiatorConfig {
    /// What it offers, in order of preference; one at least.
    pub suites: Vec<Suite>,
    /// The lifetime that it offers.
    pub lifetime: Duration,
    /// GDOI, or IPsec to speak with a peer that knows only that.
    pub doi: Doi,
    /// Who it says it is.
    pub identity: Identity,
    /// How it proves that.
    pub credentials: Credentials,
    /// Who the peer must be: the identity that it gives, or one that its certificate has. With a pre-shared
    /// key `None` takes any identity; with certificates it means the address that the messages go to.
    pub peer_identity: Option<Identity>,
    /// Whether it tells the peer to forget earlier phase 1s with it (INITIAL-CONTACT), as after a restart.
    pub initial_contact: bool,
    /// How patient it is.
    pub timing: Timing,
}

/// What a responder is told.
#[derive(Clone)]
pub struct ResponderConfig {
    /// What it accepts, in order of preference.
    pub suites: Vec<Suite>,
    /// The longest lifetime that it keeps, whatever is offered.
    pub lifetime: Duration,
    /// Whether offers under the IPsec DOI are taken as well as those under GDOI's.
    pub accept_ipsec_doi: bool,
    /// Who it says it is.
    pub identity: Identity,
    /// What it signs with; without it only pre-shared keys are accepted.
    pub certificate: Option<Arc<CertificateCredentials>>,
    /// Who may authenticate.
    pub peers: Arc<dyn Peers>,
    /// How patient it is.
    pub timing: Timing,
}

impl fmt::Debug for ResponderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponderConfig")
            .field("suites", &self.suites)
            .field("identity", &self.identity)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Whom a responder knows.
pub trait Peers: Send + Sync {
    /// The key shared with the peer at this address. Main mode knows no more of a peer than its address
    /// when the key is needed (RFC 2409 section 5.4). `None` refuses pre-shared keys from there.
    fn pre_shared_key(&self, address: IpAddr) -> Option<Secret>;

    /// Whether this peer may have a phase 1, and what to call it. With a certificate its identity is one
    /// that the certificate proves. With a pre-shared key only that it holds the key is proven; which
    /// identity its holder may use is for this function to say. `None` refuses it.
    fn admit(&self, peer: &PeerInfo, certificate: Option<&PeerCertificate>) -> Option<PeerTag>;
}

/// When messages are sent again and when a phase 1 that does not get on is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long an initiator waits before it sends a message again; twice as long each time.
    pub first_retransmit: Duration,
    /// The longest such wait.
    pub longest_retransmit: Duration,
    /// How often it sends a message before it gives up.
    pub tries: u32,
    /// How long a responder waits for the next message before it forgets the peer.
    pub half_open: Duration,
    /// A duplicate that comes sooner than this after its answer is not answered again.
    pub answer_interval: Duration,
}

impl Timing {
    /// The default of [`Timing::first_retransmit`].
    pub const FIRST_RETRANSMIT: Duration = Duration::from_millis(500);

    /// The default of [`Timing::longest_retransmit`]. It is short, since traffic may be waiting for the answer, and
    /// much may be lost; a responder knows a message that comes again by its digest.
    pub const LONGEST_RETRANSMIT: Duration = Duration::from_secs(2);

    /// The default of [`Timing::tries`]: 29.5 s in all.
    pub const TRIES: u32 = 16;
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            first_retransmit: Self::FIRST_RETRANSMIT,
            longest_retransmit: Self::LONGEST_RETRANSMIT,
            tries: Self::TRIES,
            half_open: Duration::from_secs(30),
            answer_interval: Duration::from_millis(200),
        }
    }
}
