use super::*;
use crate::ike::main_mode::tests::{gm_config, suite};
use crate::wire::{Attribute, AttributeValue};

const PSK: &[Method] = &[Method::PreSharedKey];

fn offered(suites: &[&str]) -> Sa {
    offer(&InitiatorConfig { suites: suites.iter().map(|name| suite(name)).collect(), ..gm_config() })
}

fn transform(sa: &mut Sa) -> &mut Transform {
    &mut sa.proposals[0].transforms[0]
}

fn take(sa: &Sa) -> Result<Chosen, IkeError> {
    choose(sa, &[suite("aes256-sha256-ecp256")], false, PSK).map(|(_, chosen)| chosen)
}

#[test]
fn an_offer_is_one_proposal_with_a_transform_for_each_suite() {
    let sa = offered(&["aes256-sha256-ecp256", "aes128-sha1-modp2048"]);
    assert_eq!((sa.doi, sa.situation), (Doi::Gdoi, 0));
    assert_eq!(sa.proposals.len(), 1);
    let numbers: Vec<_> = sa.proposals[0].transforms.iter().map(|transform| transform.number).collect();
    assert_eq!(numbers, [1, 2]);
    let many = offered(&["aes256-sha256-ecp256"; 300]);
    assert_eq!(many.proposals[0].transforms.len(), MAX_TRANSFORMS);
    let ipsec = offer(&InitiatorConfig { doi: Doi::Ipsec, ..gm_config() });
    assert_eq!((ipsec.doi, ipsec.situation), (Doi::Ipsec, SIT_IDENTITY_ONLY));
}

#[test]
fn a_life_is_read_in_every_form_and_kilobytes_beside_it() {
    let life = |pairs: &[(u16, AttributeValue)]| {
        let mut sa = offered(&["aes256-sha256-ecp256"]);
        let attributes = &mut transform(&mut sa).attributes.0;
        attributes
            .retain(|found| ![IkeAttribute::LifeType, IkeAttribute::LifeDuration].contains(&found.class));
        for (kind, duration) in pairs {
            attributes.push(Attribute { class: IkeAttribute::LifeType, value: AttributeValue::Basic(*kind) });
            attributes.push(Attribute { class: IkeAttribute::LifeDuration, value: duration.clone() });
        }
        take(&sa).unwrap().lifetime
    };
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(life(&[(1, AttributeValue::Basic(3600))]), hour);
    assert_eq!(life(&[(1, AttributeValue::Variable(vec![0, 0, 0x0e, 0x10]))]), hour);
    assert_eq!(life(&[(2, AttributeValue::Basic(5)), (1, AttributeValue::Basic(3600))]), hour);
    assert_eq!(life(&[(1, AttributeValue::Basic(3600)), (2, AttributeValue::Basic(5))]), hour);
    assert_eq!(life(&[(2, AttributeValue::Basic(5))]), None);
    assert_eq!(life(&[(1, AttributeValue::Basic(0))]), None);
    assert_eq!(life(&[]), None);
    let forever = life(&[(1, AttributeValue::Variable(vec![0xff; 200]))]);
    assert_eq!(forever, Some(Duration::from_secs(u64::from(u32::MAX))));
}

#[test]
fn a_transform_that_means_anything_more_or_twice_is_not_taken() {
    for (class, value) in [
        (IkeAttribute::Prf, 1),
        (IkeAttribute::FieldSize, 1),
        (IkeAttribute::Unknown(99), 1),
        (IkeAttribute::Encryption, 7),
        (IkeAttribute::KeyLength, 128),
        (IkeAttribute::Group, 2),
    ] {
        let mut sa = offered(&["aes256-sha256-ecp256"]);
        let extra = Attribute { class, value: AttributeValue::Basic(value) };
        transform(&mut sa).attributes.0.push(extra);
        assert!(matches!(take(&sa), Err(IkeError::NoProposalChosen { .. })), "{class}");
    }
    for missing in 0..5 {
        let mut sa = offered(&["aes256-sha256-ecp256"]);
        transform(&mut sa).attributes.0.remove(missing);
        assert!(take(&sa).is_err(), "without attribute {missing}");
    }
    let mut sa = offered(&["aes256-sha256-ecp256"]);
    transform(&mut sa).id = 2;
    assert!(take(&sa).is_err());
    let mut sa = offered(&["aes256-sha256-ecp256"]);
    sa.proposals[0].protocol = ProtocolId::Esp;
    assert!(take(&sa).is_err());
}

#[test]
fn the_choice_is_found_in_any_proposal_and_comes_back_alone() {
    let mut sa = offered(&["aes128-sha1-modp1024", "aes256-sha256-ecp256"]);
    let second = Proposal { number: 2, spi: [1u8; 8].as_slice().into(), ..sa.proposals[0].clone() };
    sa.proposals[0].transforms.pop();
    sa.proposals.push(second);
    let (reply, chosen) = choose(&sa, &[suite("aes256-sha256-ecp256")], false, PSK).unwrap();
    assert_eq!(chosen.suite, suite("aes256-sha256-ecp256"));
    assert_eq!(reply.proposals.len(), 1);
    assert_eq!((reply.proposals[0].number, reply.proposals[0].transforms.len()), (2, 1));
    assert_eq!(reply.proposals[0].transforms[0], sa.proposals[1].transforms[1]);
    assert_eq!(super::chosen(&reply, &sa), Ok(chosen));
}

#[test]
fn an_unknown_offer_is_described_by_its_numbers_and_briefly() {
    let mut sa = offered(&["aes256-sha256-ecp256"; 20]);
    transform(&mut sa).attributes =
        Attributes::new().with(IkeAttribute::Encryption, 5u16).with(IkeAttribute::Hash, 1u16);
    let text = describe(&sa);
    assert!(text.starts_with("cipher 5 of 0 bits, hash 1, method 0, group 0"), "{text}");
    assert!(text.ends_with("12 more"), "{text}");
    assert!(text.contains("aes256-sha256-ecp256 with pre-shared key"), "{text}");
}
