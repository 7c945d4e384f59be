//! A group as tests like it.

use crate::core::*;
use getvpn_gdoi::crypto::KeyKind;
use getvpn_gdoi::group::*;
use getvpn_gdoi::wire::Compat;
use std::time::Duration;

pub const GROUP: GroupId = GroupId(1234);
pub const MULTICAST: &str = "239.10.1.1:848";

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn tek(transform: EspTransform, net: &str, lifetime: u64) -> TekSettings {
    let net = net.parse().unwrap();
    let selector = Selector { src: net, dst: net, protocol: None, src_port: None, dst_port: None };
    TekSettings {
        shape: TekShape {
            transform,
            mode: Mode::Tunnel,
            direction: Direction::Symmetric,
            selectors: vec![selector],
        },
        lifetime: seconds(lifetime),
    }
}

pub fn group() -> GroupSettings {
    GroupSettings {
        id: GROUP,
        name: "finance".into(),
        sid_bits: 16,
        gap: GroupAssociatedPolicy { activation_delay: seconds(1), deactivation_delay: seconds(2) },
        kek: KekSettings {
            cipher: KekCipher::Aes128Cbc,
            signature: KekSignature::EcdsaP256,
            key: KeyKind::EcdsaP256,
            lifetime: seconds(600),
        },
        rekey: RekeySettings {
            transport: Transport::Unicast,
            source: "10.0.0.1:848".parse().unwrap(),
            retransmits: 2,
            interval: seconds(1),
            acknowledge: Some(AckRequest::KekSha256),
            rate: 2_000,
        },
        teks: vec![tek(EspTransform::Aes128Gcm, "10.0.0.0/8", 60)],
        compat: Compat::Standard,
    }
}

pub fn multicast() -> GroupSettings {
    let mut group = group();
    group.rekey.transport = Transport::Multicast(MULTICAST.parse().unwrap());
    group
}

pub fn access(groups: &[GroupId]) -> Access {
    Access::new(&[PeerSettings {
        who: Who::Address("10.0.1.0/24".parse().unwrap()),
        groups: groups.to_vec(),
    }])
}
