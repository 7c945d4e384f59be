//! Generators of well-formed payloads, with numbers that are named and numbers that are not.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn octets(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), len)
}

fn spi() -> impl Strategy<Value = Spi> {
    prop_oneof![
        Just(Spi::default()),
        any::<u32>().prop_map(Spi::from),
        any::<[u8; 16]>().prop_map(|octets| CookiePair::from(octets).into()),
        octets(0..256).prop_map(|octets| octets.as_slice().into()),
    ]
}

fn attributes<C, V>() -> impl Strategy<Value = Attributes<C, V>>
where
    C: Copy + PartialEq + From<u16> + Into<u16> + std::fmt::Debug,
    V: AsRef<[u8]> + for<'a> From<&'a [u8]> + std::fmt::Debug,
{
    let class = prop_oneof![0u16..20, 0u16..0x8000];
    let value = prop_oneof![
        any::<u16>().prop_map(Ok),
        any::<u32>().prop_map(|number| Err(number.to_be_bytes().to_vec())),
        octets(0..40).prop_map(Err),
    ];
    vec((class, value), 0..12).prop_map(|list| {
        list.into_iter().fold(Attributes::new(), |attributes, (class, value)| match value {
            Ok(number) => attributes.with(class.into(), number),
            Err(octets) => attributes.with_octets(class.into(), octets.as_slice()),
        })
    })
}

fn phase1_sa() -> impl Strategy<Value = Payload> {
    let transform = (any::<u8>(), any::<u8>(), attributes()).prop_map(|(number, id, attributes)| Transform {
        number,
        id,
        attributes,
    });
    let proposal = (any::<u8>(), any::<u8>(), spi(), vec(transform, 1..6)).prop_map(
        |(number, protocol, spi, transforms)| Proposal { number, protocol: protocol.into(), spi, transforms },
    );
    (0u32..4, any::<u32>(), vec(proposal, 1..4)).prop_map(|(doi, situation, proposals)| {
        Payload::Sa(Sa { doi: doi.into(), situation: situation & !6, proposals })
    })
}

fn selector_id() -> impl Strategy<Value = SelectorId> {
    let data = prop_oneof![octets(4..5), octets(8..9), octets(0..256)];
    (0u8..16, any::<u16>(), data).prop_map(|(id_type, port, data)| SelectorId {
        id_type: id_type.into(),
        port,
        data,
    })
}

fn sak() -> impl Strategy<Value = SaAttribute> {
    let ids = (selector_id(), selector_id());
    (any::<u8>(), ids, any::<[u8; 16]>(), any::<(u16, u16)>(), attributes()).prop_map(
        |(protocol, (source, destination), spi, (pop_algorithm, pop_key_length), attributes)| {
            SaAttribute::Sak(Sak {
                protocol,
                source,
                destination,
                spi: spi.into(),
                pop_algorithm,
                pop_key_length,
                attributes,
            })
        },
    )
}

fn tek<T: From<u8> + std::fmt::Debug>() -> impl Strategy<Value = Tek<T>> {
    (any::<u8>(), selector_id(), selector_id(), any::<u8>(), any::<u32>(), attributes()).prop_map(
        |(protocol, source, destination, transform, spi, attributes)| Tek {
            protocol,
            source,
            destination,
            transform: transform.into(),
            spi,
            attributes,
        },
    )
}

fn gap() -> impl Strategy<Value = Gap> {
    attributes().prop_map(|attributes| Gap { attributes })
}

fn gdoi_sa() -> impl Strategy<Value = Payload> {
    let sat = prop_oneof![
        tek().prop_map(Sat::Esp),
        tek().prop_map(Sat::Ah),
        (3u8.., octets(0..60)).prop_map(|(protocol, content)| Sat::Unknown(protocol.into(), content)),
    ];
    let unknown =
        (128u8.., octets(0..60)).prop_map(|(number, content)| SaAttribute::Unknown(number.into(), content));
    let rest = prop_oneof![8 => sat.prop_map(SaAttribute::Sat), 1 => unknown];
    let (sak, gap) = (sak(), gap().prop_map(SaAttribute::Gap));
    (any::<u32>(), prop::option::of(sak), prop::option::of(gap), vec(rest, 0..8)).prop_map(
        |(situation, sak, gap, rest)| {
            let attributes = sak.into_iter().chain(gap).chain(rest).collect();
            Payload::GdoiSa(GdoiSa { situation, attributes })
        },
    )
}

fn keys<C>() -> impl Strategy<Value = Keys<C>>
where
    C: Copy + PartialEq + From<u16> + Into<u16> + std::fmt::Debug,
{
    (spi(), attributes()).prop_map(|(spi, attributes)| Keys { spi, attributes })
}

fn key_download() -> impl Strategy<Value = Payload> {
    let packet = prop_oneof![
        keys().prop_map(KeyPacket::Tek),
        keys().prop_map(KeyPacket::Kek),
        keys().prop_map(KeyPacket::Lkh),
        keys().prop_map(KeyPacket::Sid),
        (5u8.., keys()).prop_map(|(kd_type, keys)| KeyPacket::Unknown(kd_type.into(), keys)),
    ];
    vec(packet, 0..8).prop_map(|packets| Payload::KeyDownload(KeyDownload { packets }))
}

fn notify() -> impl Strategy<Value = Payload> {
    (any::<u32>(), any::<u8>(), any::<u16>(), spi(), octets(0..40)).prop_map(
        |(doi, protocol, notify_type, spi, data)| {
            let (doi, notify_type) = (doi.into(), notify_type.into());
            Payload::Notify(Notify { doi, protocol, notify_type, spi, data })
        },
    )
}

fn delete() -> impl Strategy<Value = Payload> {
    let spis = prop_oneof![
        vec(any::<u32>().prop_map(Spi::from), 0..20),
        vec(any::<[u8; 16]>().prop_map(|octets| CookiePair::from(octets).into()), 0..4),
        Just(vec![Spi::default()]),
    ];
    (any::<u32>(), any::<u8>(), spis)
        .prop_map(|(doi, protocol, spis)| Payload::Delete(Delete { doi: doi.into(), protocol, spis }))
}

fn identification() -> impl Strategy<Value = Payload> {
    (any::<u8>(), any::<u8>(), any::<u16>(), octets(0..80)).prop_map(|(id_type, protocol, port, data)| {
        Payload::Identification(Identification { id_type: id_type.into(), protocol, port, data })
    })
}

/// Any payload that an exchange may carry; the exchange decides between the two SA layouts.
pub(super) fn payload(exchange: ExchangeType) -> BoxedStrategy<Payload> {
    let sa = match exchange {
        ExchangeType::GroupkeyPull | ExchangeType::GroupkeyPush => gdoi_sa().boxed(),
        _ => phase1_sa().boxed(),
    };
    prop_oneof![
        3 => sa,
        3 => key_download(),
        1 => identification(),
        1 => notify(),
        1 => delete(),
        1 => gap().prop_map(Payload::Gap),
        1 => any::<u32>().prop_map(Payload::Sequence),
        1 => octets(8..257).prop_map(Payload::Nonce),
        1 => octets(0..600).prop_map(Payload::KeyExchange),
        1 => octets(0..100).prop_map(Payload::Hash),
        1 => octets(0..600).prop_map(Payload::Signature),
        1 => octets(0..100).prop_map(Payload::VendorId),
        1 => (any::<u8>(), octets(0..900)).prop_map(|(encoding, data)| {
            Payload::Certificate(Certificate { encoding: encoding.into(), data })
        }),
        1 => (any::<u8>(), octets(0..90)).prop_map(|(encoding, authority)| {
            Payload::CertificateRequest(CertificateRequest { encoding: encoding.into(), authority })
        }),
        1 => (prop_oneof![Just(2u8), Just(3), Just(14), Just(15), Just(16), 19u8..22, 23u8..],
              octets(0..100))
            .prop_map(|(number, content)| Payload::Unknown(number.into(), content)),
    ]
    .boxed()
}

/// An exchange, including one that nobody knows.
pub(super) fn exchange() -> impl Strategy<Value = ExchangeType> {
    prop_oneof![
        Just(ExchangeType::IdentityProtection),
        Just(ExchangeType::Informational),
        Just(ExchangeType::GroupkeyPull),
        Just(ExchangeType::GroupkeyPush),
        Just(ExchangeType::GroupkeyPushAck),
        Just(ExchangeType::Unknown(77)),
    ]
}

/// An exchange and a chain of payloads for it.
pub(super) fn message() -> impl Strategy<Value = (ExchangeType, Vec<Payload>)> {
    exchange().prop_flat_map(|exchange| (Just(exchange), vec(payload(exchange), 0..6)))
}

/// Either layout.
pub(super) fn compat() -> impl Strategy<Value = Compat> {
    prop_oneof![Just(Compat::Standard), Just(Compat::Reference)]
}
