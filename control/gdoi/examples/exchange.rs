//! Runs a registration, rekeys and acknowledgements between both sides, from a seed, and prints every message
//! with the keys that open it as one JSON object: material for decoders that share no code with this crate.
//!
//! `cargo run -p getvpn-gdoi --example exchange [standard|reference]`

use getvpn_gdoi::crypto::{AesCbc, HashAlgorithm, KeyKind, Secret, SeededRandom, SigningKey};
use getvpn_gdoi::group::{
    AckRequest, Deletion, Direction, EspSpi, EspTransform, GroupAssociatedPolicy, GroupId, GroupKeys,
    GroupPolicy, KekCipher, KekKeys, KekPolicy, KekSignature, KekSpi, Mode, Rekey, Selector, SenderIds,
    TekKeys, TekPolicy,
};
use getvpn_gdoi::ike::Prf;
use getvpn_gdoi::pull::{PullClient, PullServer};
use getvpn_gdoi::push::{Ack, KekSigner, build, open};
use getvpn_gdoi::wire::{Compat, CookiePair, EncodedChain, ExchangeType, Flags, Header};
use serde_json::{Value, json};
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

const MESSAGE_ID: u32 = 0x0102_0304;
const PHASE1_COOKIES: [u8; 16] = *b"initiat.respond.";

fn main() -> Result<(), Box<dyn Error>> {
    let compat = match std::env::args().nth(1).as_deref() {
        None | Some("standard") => Compat::Standard,
        Some("reference") => Compat::Reference,
        Some(other) => return Err(format!("{other}: neither standard nor reference").into()),
    };
    let signatures = [
        (KekSignature::Rsa(HashAlgorithm::Sha256), KeyKind::Rsa { bits: 2048 }),
        (KekSignature::Rsa(HashAlgorithm::Sha1), KeyKind::Rsa { bits: 2048 }),
        (KekSignature::Rsa(HashAlgorithm::Sha512), KeyKind::Rsa { bits: 3072 }),
        (KekSignature::EcdsaP256, KeyKind::EcdsaP256),
        (KekSignature::EcdsaP384, KeyKind::EcdsaP384),
    ];
    let runs = (1..).zip(signatures).map(|(seed, (signature, kind))| run(seed, signature, kind, compat));
    let runs = runs.collect::<Result<Vec<Value>, _>>()?;
    println!("{}", serde_json::to_string_pretty(&runs)?);
    Ok(())
}

/// One registration with two rekeys after it, of which the first brings a new Rekey SA.
fn run(seed: u64, signature: KekSignature, kind: KeyKind, compat: Compat) -> Result<Value, Box<dyn Error>> {
    let random = &mut SeededRandom::new(seed);
    let signing = SigningKey::generate(kind, random)?;
    let first = rekey_sa(KekSpi(*b"first..kek......"), signature, KekCipher::Aes128Cbc, &signing, random)?;
    let second = rekey_sa(KekSpi(*b"second.kek......"), signature, KekCipher::Aes256Cbc, &signing, random)?;
    let mut pull = pull(&first, compat, random)?;

    let mut policy = GroupPolicy {
        kek: Some(second.0.clone()),
        gap: delays(),
        teks: vec![tek(0x0001_0004, EspTransform::Aes256Gcm, Mode::Tunnel)],
        ..GroupPolicy::default()
    };
    let mut keys = keys(&policy, random);
    keys.kek = Some((second.0.spi, second.1.clone()));
    let rollover = Rekey {
        kek: first.0.spi,
        sequence: 8,
        deletions: vec![Deletion::Tek(EspSpi(0x0001_0001))],
        policy: policy.clone(),
        keys: keys.clone(),
    };
    let added = GroupPolicy {
        teks: vec![tek(0x0001_0005, EspTransform::ChaCha20Poly1305, Mode::Transport)],
        ..GroupPolicy::default()
    };
    keys.teks.extend(self::keys(&added, random).teks);
    policy.teks.extend(added.teks);
    let next = Rekey { kek: second.0.spi, sequence: 1, deletions: vec![], policy, keys };
    let last = Rekey {
        kek: second.0.spi,
        sequence: 2,
        deletions: vec![Deletion::AllTeks, Deletion::Kek],
        policy: GroupPolicy::default(),
        keys: GroupKeys::default(),
    };

    let mut pushes = Vec::new();
    let mut acknowledgements = Vec::new();
    for (sa, rekey) in [(&first, rollover), (&second, next), (&second, last)] {
        let datagram =
            build(KekSigner { policy: &sa.0, keys: &sa.1, signing: &signing }, &rekey, compat, random)?;
        let opened = open(&sa.0, &sa.1, rekey.sequence - 1, &datagram, compat)?;
        if opened.rekey != rekey || !opened.refused.is_empty() {
            return Err("a rekey does not arrive as it was sent".into());
        }
        pushes.push(json!(hex(&datagram)));
        let ack = Ack { kek: rekey.kek, sequence: rekey.sequence, member: "192.0.2.7".parse()? };
        for request in [AckRequest::KekSha256, AckRequest::KekSha512] {
            let name = if request == AckRequest::KekSha256 { "sha256" } else { "sha512" };
            acknowledgements.push(json!({ "prf": name, "datagram": hex(&ack.build(&sa.1, request)?) }));
        }
    }
    let kek = |sa: &(KekPolicy, KekKeys)| json!({ "spi": hex(&sa.0.spi.0), "iv": hex(&sa.1.iv), "key": hex(&sa.1.cipher) });
    let pull = pull.as_object_mut().ok_or("no object")?;
    pull.extend([
        ("compat".to_owned(), json!(if compat == Compat::Reference { "reference" } else { "standard" })),
        ("kek".to_owned(), json!([kek(&first), kek(&second)])),
        ("signing_key".to_owned(), json!(hex(signing.verifying_key().spki_der()))),
        ("push".to_owned(), json!(pushes)),
        ("ack".to_owned(), json!(acknowledgements)),
    ]);
    Ok(json!(pull))
}

/// The four messages, encrypted as phase 2 is (RFC 2409 appendix B) under a phase 1 that is made up.
fn pull(
    first: &(KekPolicy, KekKeys),
    compat: Compat,
    random: &mut SeededRandom,
) -> Result<Value, Box<dyn Error>> {
    let policy = GroupPolicy {
        kek: Some(first.0.clone()),
        gap: delays(),
        teks: vec![
            tek(0x0001_0001, EspTransform::Aes128Gcm, Mode::Tunnel),
            tek(0x0001_0002, EspTransform::Aes256CbcHmacSha256, Mode::Transport),
            tek(0x0001_0003, EspTransform::NullHmacSha1, Mode::Tunnel),
        ],
        ..GroupPolicy::default()
    };
    let mut keys = keys(&policy, random);
    keys.kek = Some((first.0.spi, first.1.clone()));
    keys.sender_ids = Some(SenderIds { bits: 16, values: vec![4, 0x1234] });
    let group = GroupId(1234);

    let skeyid_a = Secret::random(32, random);
    let enc_key = Secret::random(16, random);
    let phase1_iv = Secret::random(16, random);
    let prf = || Prf::new(HashAlgorithm::Sha256, skeyid_a.clone());
    let (client, one) = PullClient::start(prf(), MESSAGE_ID, group, compat, random)?;
    let (server, _) = PullServer::request(prf(), MESSAGE_ID, one.first, &one.octets)?;
    let (offer, two) = server.offer(&policy, compat, random)?;
    let accept = client.policy(two.first, &two.octets)?.accept;
    let three = accept.confirm(Some(2))?;
    let (confirmed, _) = offer.confirmed(three.first, &three.octets)?;
    let four = confirmed.keys(&policy, &keys, Some(7))?;
    if accept.keys(None, four.first, &four.octets)?.keys != keys {
        return Err("keys do not arrive as they were sent".into());
    }

    let mut iv: [u8; 16] = [0; 16];
    iv.copy_from_slice(&HashAlgorithm::Sha256.digest(&[&phase1_iv, &MESSAGE_ID.to_be_bytes()])[..16]);
    let mut datagrams = Vec::new();
    for message in [&one, &two, &three, &four] {
        datagrams.push(json!(hex(&encrypt(message, &enc_key, &mut iv)?)));
    }
    Ok(json!({
        "hash": "sha256",
        "skeyid_a": hex(&skeyid_a),
        "enc_key": hex(&enc_key),
        "phase1_iv": hex(&phase1_iv),
        "pull": datagrams,
    }))
}

fn encrypt(message: &EncodedChain, key: &[u8], iv: &mut [u8; 16]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut text = message.octets.to_vec();
    text.resize(text.len().next_multiple_of(16), 0);
    AesCbc::new(key)?.encrypt(iv, &mut text)?;
    iv.copy_from_slice(&text[text.len() - 16..]);
    let cookies = CookiePair::from(PHASE1_COOKIES);
    let header =
        Header::new(cookies, message.first, ExchangeType::GroupkeyPull, Flags::ENCRYPTED, MESSAGE_ID);
    Ok(header.datagram(&text)?)
}

fn rekey_sa(
    spi: KekSpi,
    signature: KekSignature,
    cipher: KekCipher,
    signing: &SigningKey,
    random: &mut SeededRandom,
) -> Result<(KekPolicy, KekKeys), Box<dyn Error>> {
    let policy = KekPolicy {
        spi,
        cipher,
        signature,
        lifetime: Duration::from_secs(86_400),
        source: "192.0.2.1:848".parse()?,
        destination: "239.10.1.1:848".parse()?,
        acknowledge: Some(AckRequest::KekSha256),
    };
    let mut iv = [0; 16];
    iv.copy_from_slice(&Secret::random(16, random));
    let cipher = Secret::random(cipher.key_len(), random);
    Ok((policy, KekKeys { iv, cipher, verifying: signing.verifying_key().clone() }))
}

fn delays() -> GroupAssociatedPolicy {
    GroupAssociatedPolicy {
        activation_delay: Duration::from_secs(15),
        deactivation_delay: Duration::from_secs(30),
    }
}

fn tek(spi: u32, transform: EspTransform, mode: Mode) -> TekPolicy {
    let net = |octet| ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, octet, 0, 0), 16).into();
    let selector =
        Selector { src: net(1), dst: net(2), protocol: Some(17), src_port: None, dst_port: Some(53) };
    let back = Selector { src: net(2), dst: net(1), protocol: None, src_port: None, dst_port: None };
    TekPolicy {
        spi: EspSpi(spi),
        transform,
        mode,
        direction: Direction::Symmetric,
        selectors: vec![selector, back],
        lifetime: Duration::from_secs(3600),
    }
}

fn keys(policy: &GroupPolicy, random: &mut SeededRandom) -> GroupKeys {
    let teks = policy.teks.iter().map(|tek| {
        let cipher = Secret::random(tek.transform.key_len(), random);
        let integrity = Secret::random(tek.transform.integrity_key_len(), random);
        (tek.spi, TekKeys { cipher, integrity })
    });
    GroupKeys { teks: teks.collect(), ..GroupKeys::default() }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing to a String does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}
