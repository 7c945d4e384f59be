//! Addresses and halves of words, for messages and cells that are made of plain words. Used by every
//! thread; holds no state.

use std::net::IpAddr;

#[expect(clippy::cast_possible_truncation, reason = "that is how it is cut in two")]
pub(crate) fn halves(word: u64) -> [u32; 2] {
    [(word >> 32) as u32, word as u32]
}

/// An address as two words, and whether it is of IPv4.
#[expect(clippy::cast_possible_truncation, reason = "that is how it is cut in two")]
pub(crate) fn address_words(address: IpAddr) -> ([u64; 2], bool) {
    let bits = match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    ([(bits >> 64) as u64, bits as u64], address.is_ipv4())
}

pub(crate) fn address([high, low]: [u64; 2], is_v4: bool) -> IpAddr {
    match is_v4 {
        true => IpAddr::V4(halves(low)[1].into()),
        false => IpAddr::V6((u128::from(high) << 64 | u128::from(low)).into()),
    }
}
