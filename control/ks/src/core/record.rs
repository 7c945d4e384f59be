//! What the store holds, record by record. A record is written whole, so that writing it twice does no
//! harm, and read only at the start.
//!
//! Types of the protocol library are turned into plain ones here: what is on disk does not change when
//! they do.

use super::asked::Asked;
use super::kek::{Fate, FreshKey, Kek, KekEntry, Sequence};
use super::limit::TokenBucket;
use super::member::{Acknowledged, Member, MemberId, MemberKey};
use super::settings::{TekShape, Transport};
use super::sid::SidRange;
use super::tek::{SlotId, Tek};
use super::time::{Checkpoint, ServerTime};
use getvpn_gdoi::crypto::{HashAlgorithm, Secret};
use getvpn_gdoi::group::{
    Direction, EspSpi, EspTransform, KekCipher, KekKeys, KekSignature, KekSpi, Mode, Selector, SpiKey,
    TekKeys,
};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The layout of records. A store with another one is not read.
pub const SCHEMA: u32 = 2;

/// Which record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The server's time.
    Clock,
    /// A group, by its number.
    Group(u32),
    /// A Data-Security SA, by its group and SPI.
    Tek(u32, u32),
    /// A Rekey SA, by its group and SPI.
    Kek(u32, [u8; 16]),
    /// A member, by its group and number.
    Member(u32, u32),
    /// An SPI whose SA has ended.
    DeadSpi(u32),
}

/// A record.
#[derive(Debug, Serialize, Deserialize)]
pub enum Record {
    /// The server's time.
    Clock(Checkpoint),
    /// A group.
    Group(GroupRecord),
    /// A Data-Security SA.
    Tek(TekRecord),
    /// A Rekey SA.
    Kek(KekRecord),
    /// A member.
    Member(MemberRecord),
    /// When the SA of an SPI ended.
    DeadSpi(ServerTime),
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of the store is damaged: {0}")]
pub struct Damaged(pub &'static str);

impl Key {
    /// The key as octets, in the order of [`Key`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let parts: (u8, [&[u8]; 2]) = match self {
            Key::Clock => (0, [&[], &[]]),
            Key::Group(group) => (1, [&group.to_be_bytes(), &[]]),
            Key::Tek(group, spi) => (2, [&group.to_be_bytes(), &spi.to_be_bytes()]),
            Key::Kek(group, spi) => (3, [&group.to_be_bytes(), spi]),
            Key::Member(group, member) => (4, [&group.to_be_bytes(), &member.to_be_bytes()]),
            Key::DeadSpi(spi) => (5, [&spi.to_be_bytes(), &[]]),
        };
        let (tag, [first, second]) = parts;
        [&[tag], first, second].concat()
    }

    /// Reads what [`Key::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(octets: &[u8]) -> Result<Self, Damaged> {
        fn word(octets: &[u8], at: usize) -> Option<u32> {
            octets.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
        }
        let key = match (octets.first(), octets.len()) {
            (Some(0), 1) => Some(Key::Clock),
            (Some(1), 5) => word(octets, 1).map(Key::Group),
            (Some(2), 9) => word(octets, 1).zip(word(octets, 5)).map(|(group, spi)| Key::Tek(group, spi)),
            (Some(3), 21) => {
                let spi = octets[5..].try_into().ok();
                word(octets, 1).zip(spi).map(|(group, spi)| Key::Kek(group, spi))
            }
            (Some(4), 9) => word(octets, 1).zip(word(octets, 5)).map(|(group, id)| Key::Member(group, id)),
            (Some(5), 5) => word(octets, 1).map(Key::DeadSpi),
            _ => None,
        };
        key.ok_or(Damaged("a key of no known kind"))
    }
}

impl Record {
    /// The record as octets; wiped when dropped, because there are keys in it.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Plain values of known size only: there is nothing that postcard cannot write.
        Zeroizing::new(postcard::to_allocvec(self).unwrap_or_default())
    }

    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(octets: &[u8]) -> Result<Self, Damaged> {
        match postcard::take_from_bytes(octets) {
            Ok((record, [])) => Ok(record),
            _ => Err(Damaged("a record cannot be decoded")),
        }
    }
}

/// Octets of a key, wiped when dropped and not shown.
#[derive(Clone, Debug)]
pub struct Octets(Secret);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|octets| Self(Secret::new(octets)))
    }
}

/// A group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GroupRecord {
    /// Its Data-Security SAs, generation after generation.
    pub slots: Vec<SlotRecord>,
    /// Slots below this number have been used.
    pub next_slot: u32,
    /// The line of its current Rekey SA.
    pub line: u32,
    /// The width of its sender IDs.
    pub sid_bits: u8,
    /// Sender IDs below this one may have been handed out.
    pub sids_reserved: u32,
    /// By what its SPIs are marked.
    pub spi_key: SpiKeyRecord,
    /// Members below this number have been.
    pub next_member: u32,
    /// Whom the operator has removed.
    pub barred: Vec<MemberKey>,
    /// SPIs that members are told to delete, and until when.
    pub withdrawn: Vec<(u32, ServerTime)>,
    /// When members that have registered again send with what they got.
    pub switch_at: Option<ServerTime>,
}

/// The key of a group's marked SPIs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SpiKeyRecord(Octets);

impl From<&SpiKey> for SpiKeyRecord {
    fn from(key: &SpiKey) -> Self {
        Self(Octets(Secret::from(key.octets().as_slice())))
    }
}

impl SpiKeyRecord {
    /// The key.
    ///
    /// # Errors
    /// When it has another length.
    pub fn restore(&self) -> Result<SpiKey, Damaged> {
        SpiKey::new(&self.0.0).ok_or(Damaged("the key of the SPIs"))
    }
}

/// What stays the same over the generations of a Data-Security SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Its number.
    pub id: u32,
    /// Transform, mode, direction and selectors.
    pub shape: ShapeRecord,
    /// How long one lives.
    pub lifetime: Duration,
}

/// A [`TekShape`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShapeRecord {
    transform: String,
    transport_mode: bool,
    direction: u8,
    selectors: Vec<SelectorRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SelectorRecord {
    src: (IpAddr, u8),
    dst: (IpAddr, u8),
    protocol: Option<u8>,
    src_port: Option<u16>,
    dst_port: Option<u16>,
}

impl From<&TekShape> for ShapeRecord {
    fn from(shape: &TekShape) -> Self {
        let net = |net: IpNet| (net.addr(), net.prefix_len());
        let selector = |selector: &Selector| SelectorRecord {
            src: net(selector.src),
            dst: net(selector.dst),
            protocol: selector.protocol,
            src_port: selector.src_port,
            dst_port: selector.dst_port,
        };
        Self {
            transform: shape.transform.name().to_owned(),
            transport_mode: shape.mode == Mode::Transport,
            direction: match shape.direction {
                Direction::Symmetric => 0,
                Direction::SenderOnly => 1,
                Direction::ReceiverOnly => 2,
            },
            selectors: shape.selectors.iter().map(selector).collect(),
        }
    }
}

impl TryFrom<&ShapeRecord> for TekShape {
    type Error = Damaged;

    fn try_from(record: &ShapeRecord) -> Result<Self, Damaged> {
        let net = |(address, len)| IpNet::new(address, len).map_err(|_| Damaged("a selector's prefix"));
        let selector = |record: &SelectorRecord| {
            Ok(Selector {
                src: net(record.src)?,
                dst: net(record.dst)?,
                protocol: record.protocol,
                src_port: record.src_port,
                dst_port: record.dst_port,
            })
        };
        Ok(Self {
            transform: record.transform.parse::<EspTransform>().map_err(|_| Damaged("a transform"))?,
            mode: if record.transport_mode { Mode::Transport } else { Mode::Tunnel },
            direction: match record.direction {
                0 => Direction::Symmetric,
                1 => Direction::SenderOnly,
                2 => Direction::ReceiverOnly,
                _ => return Err(Damaged("a direction")),
            },
            selectors: record.selectors.iter().map(selector).collect::<Result<_, Damaged>>()?,
        })
    }
}

/// A Data-Security SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TekRecord {
    slot: u32,
    shape: ShapeRecord,
    cipher: Octets,
    integrity: Octets,
    born: ServerTime,
    lifetime: Duration,
    ends: ServerTime,
    replaced: bool,
    receive_only: bool,
    withdraw: bool,
}

impl From<&Tek> for TekRecord {
    fn from(tek: &Tek) -> Self {
        Self {
            slot: tek.slot.0,
            shape: ShapeRecord::from(&*tek.shape),
            cipher: Octets(tek.keys.cipher.clone()),
            integrity: Octets(tek.keys.integrity.clone()),
            born: tek.born,
            lifetime: tek.lifetime,
            ends: tek.ends,
            replaced: tek.replaced,
            receive_only: tek.receive_only,
            withdraw: tek.withdraw,
        }
    }
}

impl TekRecord {
    /// The SA with this SPI.
    ///
    /// # Errors
    /// When the record holds what no SA can be.
    pub fn restore(self, spi: u32) -> Result<Tek, Damaged> {
        let shape = TekShape::try_from(&self.shape)?;
        let (cipher, integrity) = (self.cipher.0, self.integrity.0);
        if cipher.len() != shape.transform.key_len() || integrity.len() != shape.transform.integrity_key_len()
        {
            return Err(Damaged("a key's length"));
        }
        Ok(Tek {
            spi: EspSpi(spi),
            slot: SlotId(self.slot),
            shape: Arc::new(shape),
            keys: TekKeys { cipher, integrity },
            born: self.born,
            lifetime: self.lifetime,
            ends: self.ends,
            replaced: self.replaced,
            receive_only: self.receive_only,
            withdraw: self.withdraw,
        })
    }
}

/// A Rekey SA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KekRecord {
    cipher: u8,
    signature: u8,
    transport: Transport,
    iv: [u8; 16],
    key: Octets,
    signing: Octets,
    line: u32,
    born: ServerTime,
    ends: ServerTime,
    fate: Fate,
    sequence_reserved: u32,
}

const CIPHERS: [KekCipher; 3] = [KekCipher::Aes128Cbc, KekCipher::Aes192Cbc, KekCipher::Aes256Cbc];

const SIGNATURES: [KekSignature; 6] = [
    KekSignature::EcdsaP256,
    KekSignature::EcdsaP384,
    KekSignature::Rsa(HashAlgorithm::Sha1),
    KekSignature::Rsa(HashAlgorithm::Sha256),
    KekSignature::Rsa(HashAlgorithm::Sha384),
    KekSignature::Rsa(HashAlgorithm::Sha512),
];

/// The place of `wanted`, which the tables hold all of; a place that nothing is at otherwise.
fn place<T: PartialEq>(table: &[T], wanted: &T) -> u8 {
    let place = table.iter().position(|value| value == wanted);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

impl KekRecord {
    /// The record of a Rekey SA.
    #[must_use]
    pub fn of(entry: &KekEntry) -> Self {
        let kek = &entry.kek;
        Self {
            cipher: place(&CIPHERS, &kek.cipher),
            signature: place(&SIGNATURES, &kek.signature),
            transport: kek.transport,
            iv: kek.keys.iv,
            key: Octets(kek.keys.cipher.clone()),
            signing: Octets(kek.signing.pkcs8().clone()),
            line: entry.line,
            born: entry.born,
            ends: entry.ends,
            fate: entry.fate,
            sequence_reserved: entry.sequence.reserved(),
        }
    }

    /// The Rekey SA with this SPI.
    ///
    /// # Errors
    /// When the record holds what no Rekey SA can be.
    pub fn restore(self, spi: [u8; 16]) -> Result<KekEntry, Damaged> {
        let cipher = *CIPHERS.get(usize::from(self.cipher)).ok_or(Damaged("a cipher"))?;
        let signature = *SIGNATURES.get(usize::from(self.signature)).ok_or(Damaged("a signature"))?;
        if self.key.0.len() != cipher.key_len() {
            return Err(Damaged("a key's length"));
        }
        let signing = FreshKey::restore(self.signing.0).map_err(|_| Damaged("a signing key"))?;
        let verifying = signing.key.verifying_key().clone();
        let kek = Kek {
            spi: KekSpi(spi),
            cipher,
            signature,
            transport: self.transport,
            keys: KekKeys { iv: self.iv, cipher: self.key.0, verifying },
            signing,
        };
        Ok(KekEntry {
            kek: Arc::new(kek),
            line: self.line,
            born: self.born,
            ends: self.ends,
            fate: self.fate,
            sequence: Sequence::restore(self.sequence_reserved),
        })
    }
}

/// A member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberRecord {
    key: MemberKey,
    address: SocketAddr,
    local: SocketAddr,
    registered_unix: Duration,
    registrations: u32,
    sids: SidRange,
    kek: [u8; 16],
    line: u32,
    acknowledged: Option<Acknowledged>,
    asked: Option<(u32, Duration)>,
    missed: u8,
    heard: ServerTime,
}

impl From<&Member> for MemberRecord {
    fn from(member: &Member) -> Self {
        Self {
            key: member.key.clone(),
            address: member.address,
            local: member.local,
            registered_unix: member.registered_unix,
            registrations: member.registrations,
            sids: member.sids,
            kek: member.kek.0,
            line: member.line,
            acknowledged: member.acknowledged,
            asked: member.asked.last.map(|last| (last.spi.0, last.unix)),
            missed: member.missed,
            heard: member.heard,
        }
    }
}

impl MemberRecord {
    /// The member with this number; `asks` is how often it may ask.
    #[must_use]
    pub fn restore(self, id: u32, asks: TokenBucket) -> Member {
        Member {
            id: MemberId(id),
            key: self.key,
            address: self.address,
            local: self.local,
            registered_unix: self.registered_unix,
            registrations: self.registrations,
            sids: self.sids,
            kek: KekSpi(self.kek),
            line: self.line,
            acknowledged: self.acknowledged,
            asked: Asked::restored(self.asked.map(|(spi, unix)| (EspSpi(spi), unix))),
            marks: None,
            missed: self.missed,
            last_push: 0,
            asks,
            heard: self.heard,
        }
    }
}
