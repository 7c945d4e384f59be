//! The ESP header and trailer (RFC 4303 section 2). Used by the workers; holds no state. Encryption and
//! the ICV are the transform's.
//!
//! ```text
//! |               Security Parameters Index (SPI)                 |
//! |                      Sequence Number                          |
//! |                IV (the transform's), then Payload Data        |
//! |               |     Padding (0-255 octets)                    |
//! |                               |  Pad Length   | Next Header   |
//! |                ICV (the transform's)                          |
//! ```

/// Octets of SPI and sequence number.
pub const HEADER: usize = 8;
/// Octets of the shortest trailer: pad length and next header.
pub const TRAILER: usize = 2;

/// The longest padding: 1, 2, 3 and so on (RFC 4303 section 2.4).
const PADDING: [u8; 255] = {
    let mut padding = [1; 255];
    let mut i = 1;
    while i < padding.len() {
        padding[i] = padding[i - 1] + 1;
        i += 1;
    }
    padding
};

/// SPI and sequence number at the start of an ESP packet; `None` if it is too short for both.
#[inline]
#[must_use]
pub fn header(esp: &[u8]) -> Option<(u32, u32)> {
    let [a, b, c, d, e, f, g, h] = *esp.first_chunk::<HEADER>()?;
    Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])))
}

/// Writes SPI and sequence number.
#[inline]
pub fn write_header(to: &mut [u8; HEADER], spi: u32, sequence: u32) {
    to[..4].copy_from_slice(&spi.to_be_bytes());
    to[4..].copy_from_slice(&sequence.to_be_bytes());
}

/// Octets of padding that a payload of `payload_len` octets needs, so that payload, padding, pad length
/// and next header together are a multiple of `block` octets: a power of two, at least 4 (RFC 4303
/// section 2.4) and at most 256.
#[inline]
#[must_use]
pub const fn pad_len(payload_len: usize, block: usize) -> usize {
    (payload_len + TRAILER).wrapping_neg() & (block - 1)
}

/// Fills `trailer`, which is all of padding, pad length and next header. Padding octets are 1, 2, 3 and
/// so on (RFC 4303 section 2.4). False, with nothing written, if its length is not 2 to 257.
#[inline]
#[must_use]
pub fn write_trailer(trailer: &mut [u8], next_header: u8) -> bool {
    let Some((padding, end)) = trailer.split_last_chunk_mut::<TRAILER>() else { return false };
    let Ok(pad_len) = u8::try_from(padding.len()) else { return false };
    for (octet, value) in padding.iter_mut().zip(&PADDING) {
        *octet = *value;
    }
    *end = [pad_len, next_header];
    true
}

/// The length of the payload in front of the trailer, and the next header. `plaintext` runs from the
/// payload to the next header. `None` if it is too short for the padding it names, or if the padding is
/// not 1, 2, 3 and so on, which a receiver should check (RFC 4303 section 2.4).
#[inline]
#[must_use]
pub fn strip_trailer(plaintext: &[u8]) -> Option<(usize, u8)> {
    let (rest, &[pad_len, next_header]) = plaintext.split_last_chunk::<TRAILER>()?;
    let payload_len = rest.len().checked_sub(usize::from(pad_len))?;
    let padding = rest.get(payload_len..)?;
    // Mostly there are three octets at most: comparing them here is quicker than a call of memcmp.
    let is_right = padding.iter().zip(&PADDING).all(|(octet, right)| octet == right);
    is_right.then_some((payload_len, next_header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_pad_length_is_written_and_stripped_and_each_padding_octet_counts() {
        for pad_len in 0u8..=255 {
            let mut plaintext = vec![0xee; 3 + usize::from(pad_len) + TRAILER];
            assert!(write_trailer(&mut plaintext[3..], 41));
            let expected: Vec<u8> = [0xee; 3].into_iter().chain(1..=pad_len).chain([pad_len, 41]).collect();
            assert_eq!(plaintext, expected);
            assert_eq!(strip_trailer(&plaintext), Some((3, 41)));
            for at in 3..3 + usize::from(pad_len) {
                plaintext[at] ^= 0x10;
                assert_eq!(strip_trailer(&plaintext), None, "{pad_len} {at}");
                plaintext[at] ^= 0x10;
            }
        }
    }

    #[test]
    fn a_trailer_longer_than_the_plaintext_is_refused() {
        assert_eq!(strip_trailer(&[]), None);
        assert_eq!(strip_trailer(&[4]), None);
        assert_eq!(strip_trailer(&[1, 4]), None);
        assert_eq!(strip_trailer(&[0, 4]), Some((0, 4)));
        assert!(!write_trailer(&mut [0; 1], 4));
        assert!(!write_trailer(&mut [0; 258], 4));
    }

    #[test]
    fn a_header_reads_as_it_was_written() {
        let mut octets = [0; 9];
        write_header(octets.first_chunk_mut().unwrap(), 0x0001_0203, 0xfffe_fdfc);
        assert_eq!(octets, [0, 1, 2, 3, 0xff, 0xfe, 0xfd, 0xfc, 0]);
        assert_eq!(header(&octets), Some((0x0001_0203, 0xfffe_fdfc)));
        assert_eq!(header(&octets[..7]), None);
    }

    proptest! {
        #[test]
        fn padding_is_the_least_that_aligns_the_trailer(payload_len in 0usize..70_000, cbc: bool) {
            let block = if cbc { 16 } else { 4 };
            let pad_len = pad_len(payload_len, block);
            prop_assert!(pad_len < block);
            prop_assert_eq!((payload_len + pad_len + TRAILER) % block, 0);
        }

        #[test]
        fn stripping_never_goes_past_what_is_there(plaintext: Vec<u8>) {
            if let Some((payload_len, next_header)) = strip_trailer(&plaintext) {
                let mut again = plaintext.clone();
                prop_assert!(write_trailer(&mut again[payload_len..], next_header));
                prop_assert_eq!(again, plaintext);
            }
        }
    }
}
