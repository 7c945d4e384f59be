//! `kek` and `rekey` of a `[[group]]`: how rekeys are protected and how they travel. Read at the daemon's
//! start and on reload.

use crate::core::settings::{KekSettings, RekeySettings, Transport};
use getvpn_config::{ConfigError, Section, protocol};
use getvpn_gdoi::crypto::{HashAlgorithm, KeyKind};
use getvpn_gdoi::group::{AckRequest, KekCipher, KekSignature};
use std::net::SocketAddr;
use std::time::Duration;

const CIPHERS: [(&str, KekCipher); 3] = [
    ("aes-128-cbc", KekCipher::Aes128Cbc),
    ("aes-192-cbc", KekCipher::Aes192Cbc),
    ("aes-256-cbc", KekCipher::Aes256Cbc),
];

type Signing = (KekSignature, KeyKind);

/// What signs rekeys, by name. SHA-1 is for members that know nothing better.
#[rustfmt::skip]
const SIGNATURES: [(&str, Signing); 12] = [
    ("ecdsa-p256", (KekSignature::EcdsaP256, KeyKind::EcdsaP256)),
    ("ecdsa-p384", (KekSignature::EcdsaP384, KeyKind::EcdsaP384)),
    ("rsa-2048-sha256", rsa(2048, HashAlgorithm::Sha256)),
    ("rsa-2048-sha384", rsa(2048, HashAlgorithm::Sha384)),
    ("rsa-2048-sha512", rsa(2048, HashAlgorithm::Sha512)),
    ("rsa-3072-sha256", rsa(3072, HashAlgorithm::Sha256)),
    ("rsa-3072-sha384", rsa(3072, HashAlgorithm::Sha384)),
    ("rsa-3072-sha512", rsa(3072, HashAlgorithm::Sha512)),
    ("rsa-4096-sha256", rsa(4096, HashAlgorithm::Sha256)),
    ("rsa-4096-sha384", rsa(4096, HashAlgorithm::Sha384)),
    ("rsa-4096-sha512", rsa(4096, HashAlgorithm::Sha512)),
    ("rsa-2048-sha1", rsa(2048, HashAlgorithm::Sha1)),
];

const fn rsa(bits: u16, hash: HashAlgorithm) -> Signing {
    (KekSignature::Rsa(hash), KeyKind::Rsa { bits })
}

const DEFAULT_RETRANSMITS: u32 = 2;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// Unicast rekeys in a second: 8,000 members in four seconds.
const DEFAULT_RATE: u32 = 2_000;

/// Reads `kek`.
pub(super) fn kek(group: &Section<'_>, warnings: &mut Vec<String>) -> Result<KekSettings, ConfigError> {
    const WHAT: &str = "kek = { cipher = \"aes-128-cbc\", lifetime_s = 86400, signature = \"ecdsa-p256\" }";
    let section = group.need("kek", WHAT)?.section()?;
    section.only(&["cipher", "lifetime_s", "signature"])?;
    let cipher = section.need("cipher", "a cipher, such as \"aes-128-cbc\"")?.choice(&CIPHERS)?;
    let lifetime = section.need("lifetime_s", "how long a Rekey SA lives, such as lifetime_s = 86400")?;
    let value = section.need("signature", "what signs rekeys, such as \"ecdsa-p256\"")?;
    let (signature, key) = value.choice(&SIGNATURES)?;
    if signature == KekSignature::Rsa(HashAlgorithm::Sha1) {
        let problem =
            "a signature over SHA-1 can be forged; name it only for members that know nothing better";
        warnings.push(value.error(problem).to_string());
    }
    Ok(KekSettings { cipher, signature, key, lifetime: lifetime.seconds(1..=u32::MAX, "a lifetime")? })
}

/// Reads `rekey`, for a key server that listens there.
pub(super) fn rekey(group: &Section<'_>, listen: &[SocketAddr]) -> Result<RekeySettings, ConfigError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Unicast,
        Multicast,
    }
    let Some(&source) = listen.first() else { return Err(group.error("this key server listens nowhere")) };
    let mut settings = RekeySettings {
        transport: Transport::Unicast,
        source,
        retransmits: DEFAULT_RETRANSMITS,
        interval: DEFAULT_INTERVAL,
        acknowledge: Some(AckRequest::KekSha256),
        rate: DEFAULT_RATE,
    };
    let Some(section) = group.table("rekey")? else { return Ok(settings) };
    section.only(&["transport", "address", "retransmits", "interval_s", "acknowledge", "rate_per_s"])?;
    let kind = section.get("transport").map_or(Ok(Kind::Unicast), |value| {
        value.choice(&[("unicast", Kind::Unicast), ("multicast", Kind::Multicast)])
    })?;
    match (kind, section.get("address")) {
        (Kind::Unicast, None) => {}
        (Kind::Unicast, Some(address)) => {
            return Err(
                address.error("has no effect without transport = \"multicast\"; add that or remove it")
            );
        }
        (Kind::Multicast, None) => {
            return Err(section.missing("address", "the group address, such as \"239.10.1.1:848\""));
        }
        (Kind::Multicast, Some(value)) => {
            let address = protocol::socket_address(&value, "a multicast address with its port")?;
            if !address.ip().is_multicast() || address.port() == 0 {
                let problem = "is no multicast address with a port; use one such as \"239.10.1.1:848\"";
                return Err(value.error(format!("{address} {problem}")));
            }
            let source = listen.iter().find(|local| local.is_ipv4() == address.is_ipv4());
            settings.source = *source.ok_or_else(|| {
                value.error(
                    "this key server listens on no address of that family; add one to listen in [server]",
                )
            })?;
            settings.transport = Transport::Multicast(address);
        }
    }
    if let Some(value) = section.get("retransmits") {
        settings.retransmits = value.integer(0..=10, "a number of retransmits")?;
    }
    if let Some(value) = section.get("interval_s") {
        settings.interval = value.seconds(1..=3600, "an interval")?;
    }
    if let Some(value) = section.get("acknowledge") {
        settings.acknowledge = value.boolean()?.then_some(AckRequest::KekSha256);
    }
    if let Some(value) = section.get("rate_per_s") {
        if kind == Kind::Multicast {
            return Err(value.error("has no effect with transport = \"multicast\"; remove it"));
        }
        settings.rate = value.integer(1..=1_000_000, "a number of rekeys in a second")?;
    }
    Ok(settings)
}
