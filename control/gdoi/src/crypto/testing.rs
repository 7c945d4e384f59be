//! What the tests of this module share: reading the files of vectors, and randomness that is dictated.

use super::Random;

/// The octets that hexadecimal digits write.
pub fn hex(digits: &str) -> Vec<u8> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "an odd number of digits: {digits}");
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The lines of a file of vectors, split at spaces into `N` fields; those that begin with # are comments.
pub fn vectors<const N: usize>(file: &str) -> Vec<[&str; N]> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(' ').collect::<Vec<_>>().try_into().unwrap()).collect()
}

/// Gives these octets, once: a vector's private value becomes the one that is drawn.
pub struct Dictated(pub Vec<u8>);

impl Random for Dictated {
    fn fill(&mut self, out: &mut [u8]) {
        assert_eq!(out.len(), self.0.len(), "another number of octets is drawn than was dictated");
        out.copy_from_slice(&self.0);
    }
}
