use super::*;

fn identity(text: &str) -> Identity {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn text_says_what_kind_an_identity_is() {
    for (text, id_type) in [
        ("192.0.2.1", IdType::Ipv4Addr),
        ("2001:db8::1", IdType::Ipv6Addr),
        ("ks1.example.net", IdType::Fqdn),
        ("admin@example.net", IdType::UserFqdn),
        ("CN=gm1,O=Example", IdType::DerAsn1Dn),
        ("key-id:00ff10", IdType::KeyId),
    ] {
        let identity = identity(text);
        let (found, data) = identity.to_wire();
        assert_eq!(found, id_type, "{text}");
        assert_eq!(Identity::from_wire(found, &data), Ok(identity.clone()), "{text}");
        assert_eq!(identity.to_string(), text);
    }
}

/// RFC 4514 section 4, and DER by `openssl req -subj /O=Example/CN=gm1 -utf8`.
#[test]
fn a_distinguished_name_is_the_same_from_either_end_and_in_any_string_type() {
    let printable = [
        0x30, 0x20, 0x31, 0x10, 0x30, 0x0e, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x13, 0x07, b'E', b'x', b'a', b'm',
        b'p', b'l', b'e', 0x31, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x04, 0x03, 0x13, 0x03, b'g', b'm', b'1',
    ];
    let name = Identity::from_wire(IdType::DerAsn1Dn, &printable).unwrap();
    assert_eq!(name, identity("CN=gm1,O=Example"));
    assert_eq!(name, identity("O=Example, CN=gm1"));
    assert_eq!(name, identity("cn=GM1,o=example"));
    assert_ne!(name, identity("CN=gm2,O=Example"));
    assert_ne!(name, identity("CN=gm1"));
    assert_ne!(name, identity("CN=Example,O=gm1"));
    assert_eq!(name.to_wire().1, printable, "the DER is kept");
}

#[test]
fn names_compare_without_case_and_addresses_by_value() {
    assert_eq!(identity("KS1.example.net"), identity("ks1.EXAMPLE.net"));
    assert_ne!(identity("ks1.example.net"), identity("ks2.example.net"));
    assert_ne!(identity("192.0.2.1"), identity("key-id:c0000201"));
}

#[test]
fn what_names_no_peer_is_refused() {
    for (id_type, data) in [
        (IdType::Ipv4Addr, &[192, 0, 2][..]),
        (IdType::Ipv6Addr, &[0; 15]),
        (IdType::Fqdn, b""),
        (IdType::Fqdn, b"a b"),
        (IdType::Fqdn, b"a\nb"),
        (IdType::UserFqdn, b"\xff"),
        (IdType::DerAsn1Dn, &[0x30, 0x80]),
        (IdType::DerAsn1Dn, &[0x30, 0x00]),
        (IdType::Ipv4AddrSubnet, &[0; 8]),
        (IdType::KeyId, &[0; MAX_IDENTITY_LEN + 1]),
        (IdType::Unknown(99), b"x"),
    ] {
        assert!(Identity::from_wire(id_type, data).is_err(), "{id_type}");
    }
    for text in ["", "key-id:", "key-id:f", "key-id:zz", "a b", "=x"] {
        assert!(text.parse::<Identity>().is_err(), "{text}");
    }
}
