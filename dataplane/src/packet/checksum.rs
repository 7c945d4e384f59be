//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624). Used by the workers; holds
//! no state. Sums are taken in the machine's own byte order, which the checksum does not depend on.

/// Whether a header that contains its checksum is intact. Its length must be a multiple of four.
#[inline]
#[must_use]
pub fn verifies(header: &[u8]) -> bool {
    fold(sum(header)) == 0xffff
}

/// The checksum of an IPv4 header without options, in words of 32 bits; its own field must be zero.
#[inline]
#[must_use]
pub fn header(words: &[[u8; 4]; 5]) -> [u8; 2] {
    let sum = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    (!fold(sum)).to_ne_bytes()
}

/// The checksum of several pieces in a row, each but the last of an even number of octets.
#[must_use]
pub fn of(pieces: &[&[u8]]) -> [u8; 2] {
    let sum = pieces.iter().map(|piece| u64::from(fold(sum(piece)))).sum();
    (!fold(sum)).to_ne_bytes()
}

/// The checksum after one 16-bit word under it changes from `old` to `new` (RFC 1624 section 3,
/// equation 3).
#[inline]
#[must_use]
pub fn update(checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let word = |octets| u64::from(u16::from_ne_bytes(octets));
    let sum = (!word(checksum) & 0xffff) + (!word(old) & 0xffff) + word(new);
    (!fold(sum)).to_ne_bytes()
}

/// Sums 32 bits at a time: 64 bits hold the carries of 16 GiB.
#[inline]
fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let mut sum = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    if !rest.is_empty() {
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        sum += u64::from(u32::from_ne_bytes(last));
    }
    sum
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the carries are added back until none is left")]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::{of, update, verifies};
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_section_3_sums_to_ddf2() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(of(&[&octets]), (!0xddf2u16).to_be_bytes());
    }

    #[test]
    fn the_example_of_rfc_1624_section_4_gives_zero_and_not_its_complement() {
        assert_eq!(update([0xdd, 0x2f], [0x55, 0x55], [0x32, 0x85]), [0x00, 0x00]);
    }

    proptest! {
        #[test]
        fn any_octets_have_the_checksum_that_etherparse_gives_them(octets: Vec<u8>, cut: prop::sample::Index) {
            let expected = etherparse::checksum::Sum16BitWords::new().add_slice(&octets).ones_complement();
            // etherparse returns the octets of the sum in the machine's order.
            prop_assert_eq!(of(&[&octets]), expected.to_ne_bytes());
            let (head, tail) = octets.split_at(cut.index(octets.len() + 1) & !1);
            prop_assert_eq!(of(&[head, tail]), expected.to_ne_bytes());
        }

        #[test]
        fn an_update_gives_what_a_full_recount_gives(mut header: [u8; 20], word in 0usize..9, new: [u8; 2]) {
            // Version and IHL are never zero in a header, which rules out the sum of all zeros.
            header[0] = 0x45;
            let at = if word >= 5 { (word + 1) * 2 } else { word * 2 };
            let new = if at == 0 { [0x45, new[1]] } else { new };
            header[10..12].fill(0);
            let before = of(&[&header]);
            let old = [header[at], header[at + 1]];
            header[at..at + 2].copy_from_slice(&new);
            let after = of(&[&header]);
            prop_assert_eq!(update(before, old, new), after);
            header[10..12].copy_from_slice(&after);
            prop_assert!(verifies(&header));
        }
    }
}
