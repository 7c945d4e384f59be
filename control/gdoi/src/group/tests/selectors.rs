use crate::group::selector_id::from_wire;
use crate::group::{Selector, Unservable};
use crate::wire::{IdType, SelectorId};
use std::net::{Ipv4Addr, Ipv6Addr};

fn id(id_type: IdType, data: impl Into<Vec<u8>>) -> SelectorId {
    SelectorId { id_type, port: 0, data: data.into() }
}

fn v4(id_type: IdType, addresses: &[&str]) -> SelectorId {
    let octets = |address: &&str| address.parse::<Ipv4Addr>().unwrap().octets();
    id(id_type, addresses.iter().flat_map(octets).collect::<Vec<u8>>())
}

fn v6(id_type: IdType, addresses: &[&str]) -> SelectorId {
    let octets = |address: &&str| address.parse::<Ipv6Addr>().unwrap().octets();
    id(id_type, addresses.iter().flat_map(octets).collect::<Vec<u8>>())
}

fn host() -> SelectorId {
    v4(IdType::Ipv4Addr, &["239.1.1.1"])
}

fn sources(source: &SelectorId, destination: &SelectorId) -> Vec<String> {
    let selectors = from_wire(0, source, destination).unwrap();
    selectors.iter().map(|selector| selector.src.to_string()).collect()
}

#[test]
fn a_range_is_the_prefixes_that_make_it_up() {
    let range = |first, last| v4(IdType::Ipv4AddrRange, &[first, last]);
    assert_eq!(sources(&range("10.0.0.0", "10.0.0.255"), &host()), ["10.0.0.0/24"]);
    assert_eq!(sources(&range("10.0.0.1", "10.0.0.1"), &host()), ["10.0.0.1/32"]);
    let expected = ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"];
    assert_eq!(sources(&range("10.0.0.1", "10.0.0.6"), &host()), expected);
    assert_eq!(sources(&range("0.0.0.0", "255.255.255.255"), &host()), ["0.0.0.0/0"]);

    let range = v6(IdType::Ipv6AddrRange, &["2001:db8::", "2001:db8::2"]);
    let host = v6(IdType::Ipv6Addr, &["ff05::1"]);
    assert_eq!(sources(&range, &host), ["2001:db8::/127", "2001:db8::2/128"]);
}

/// RFC 6407 section 5.5.1: "Set to 3 octets or zero for multiple-source multicast groups".
#[test]
fn a_source_of_no_octets_or_three_is_any_of_the_destination_s_family() {
    for data in [vec![], vec![0; 3]] {
        assert_eq!(sources(&id(IdType::Ipv4Addr, data.clone()), &host()), ["0.0.0.0/0"]);
        let host = v6(IdType::Ipv6Addr, &["ff05::1"]);
        assert_eq!(sources(&id(IdType::Ipv4Addr, data), &host), ["::/0"]);
    }
}

#[test]
fn host_bits_of_a_subnet_do_not_matter_and_ports_and_protocol_of_zero_are_any() {
    let mut source = v4(IdType::Ipv4AddrSubnet, &["10.1.2.3", "255.0.0.0"]);
    source.port = 53;
    let expected = Selector {
        src: "10.0.0.0/8".parse().unwrap(),
        dst: "239.1.1.1/32".parse().unwrap(),
        protocol: Some(17),
        src_port: Some(53),
        dst_port: None,
    };
    assert_eq!(from_wire(17, &source, &host()), Ok(vec![expected]));
}

#[test]
fn what_no_prefixes_express_is_refused_with_its_reason() {
    let refused = |source: SelectorId, destination: SelectorId, reason: &str| {
        let why = from_wire(0, &source, &destination).unwrap_err();
        assert!(why.to_string().contains(reason), "{why}");
    };
    let v6_host = || v6(IdType::Ipv6Addr, &["ff05::1"]);
    refused(host(), v6_host(), "different address families");
    refused(v4(IdType::Ipv4AddrSubnet, &["10.0.0.0", "255.0.255.0"]), host(), "a mask is not a prefix");
    refused(v6(IdType::Ipv6AddrSubnet, &["::", "0:1::"]), v6_host(), "a mask is not a prefix");
    refused(v4(IdType::Ipv4AddrRange, &["10.0.0.2", "10.0.0.1"]), host(), "before it begins");
    refused(id(IdType::Fqdn, b"gm1.example.net".as_slice()), host(), "not an address");
    refused(id(IdType::Ipv4Addr, [10, 0, 0, 1, 0]), host(), "as long as its type");
    refused(id(IdType::Ipv4AddrSubnet, [10, 0, 0, 0]), host(), "as long as its type");
    refused(id(IdType::Ipv6Addr, [0; 4]), host(), "as long as its type");
    refused(id(IdType::Ipv4Addr, []), id(IdType::Ipv4Addr, []), "neither");
    let most = || v4(IdType::Ipv4AddrRange, &["0.0.0.1", "255.255.255.254"]);
    assert_eq!(from_wire(0, &most(), &host()).unwrap().len(), 62);
    let why = from_wire(0, &most(), &most()).unwrap_err();
    assert!(matches!(why, Unservable::TooMany { what: "selectors", .. }));
}
