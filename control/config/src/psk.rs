//! Pre-shared keys, each in a file of its own. Read at a daemon's start. Never puts a key, or a part of
//! one, into an error.
//!
//! The key is what is in the file, octet for octet, but for one newline at its end. A file that starts
//! with `0x` holds the key in hexadecimal digits instead, two for an octet, so that a key can hold any
//! octet and can be typed into another maker's peer.

use crate::error::ConfigError;
use crate::files;
use crate::reader::Value;
use getvpn_gdoi::crypto::Secret;
use std::path::Path;
use zeroize::Zeroizing;

/// The longest key in octets.
pub const MAX_LEN: usize = 256;

/// `0x`, two digits an octet, a newline.
const MAX_FILE: usize = 2 + 2 * MAX_LEN + 2;

/// The pre-shared key of 1 to [`MAX_LEN`] octets in the file that a value names.
///
/// # Errors
/// When the file cannot be read, others than its owner may use it, or it holds no key.
pub fn read(value: &Value<'_>, base: &Path) -> Result<Secret, ConfigError> {
    let content = files::read_secret(value, base, MAX_FILE)?;
    from_content(&content).map_err(|problem| {
        let file = value.string("a path").map_or_else(|_| base.into(), |name| base.join(name));
        value.error(format!("{} {problem}", file.display()))
    })
}

/// The key that a file with this content holds, or what is wrong with the file.
fn from_content(content: &[u8]) -> Result<Secret, String> {
    let line = match content {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        line => line,
    };
    let key = match line.strip_prefix(b"0x") {
        Some(digits) => from_hex(digits)?,
        None => Secret::from(line),
    };
    match key.len() {
        0 => Err("holds no key, only a newline".to_owned()),
        1..=MAX_LEN => Ok(key),
        _ => Err(format!("holds a key of {} octets; at most {MAX_LEN} are possible", key.len())),
    }
}

fn from_hex(digits: &[u8]) -> Result<Secret, String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return Err(format!(
            "starts with 0x, so its key is in hex, two digits an octet; there are {} digits",
            digits.len()
        ));
    }
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    // Room for all at once, so that no half-read key is left behind in freed memory.
    let mut key = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    for (at, pair) in digits.chunks_exact(2).enumerate() {
        match (digit(pair[0]), digit(pair[1])) {
            (Some(high), Some(low)) => key.push(high << 4 | low),
            _ => {
                return Err(format!(
                    "starts with 0x, so its key is in hex; octet {} of the key is no two hex digits",
                    at + 1
                ));
            }
        }
    }
    Ok(Secret::from(key.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_newline_at_the_end_is_not_of_the_key() {
        for (content, key) in [
            (&b"secret"[..], &b"secret"[..]),
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b"secret\n\n", b"secret\n"),
            (b" secret \n", b" secret "),
            (b"s\0e\xffcret", b"s\0e\xffcret"),
            (b"0", b"0"),
            (b"0X41", b"0X41"),
        ] {
            assert_eq!(from_content(content).unwrap(), key, "{content:?}");
        }
        for content in [&b"\n"[..], b"\r\n", b""] {
            assert_eq!(from_content(content).unwrap_err(), "holds no key, only a newline", "{content:?}");
        }
    }

    #[test]
    fn behind_0x_stands_a_key_in_hex() {
        let key = |content: &[u8]| from_content(content).map(|key| key.to_vec());
        assert_eq!(key(b"0x00fF0a\n"), Ok(vec![0, 255, 10]));
        assert!(key(b"0x").unwrap_err().contains("there are 0 digits"));
        assert!(key(b"0x123").unwrap_err().contains("there are 3 digits"));
        assert!(key(b"0x12q4").unwrap_err().contains("octet 2 of the key is no two hex digits"));
        assert!(key(b"0x12 4").unwrap_err().contains("octet 2 of the key"));
    }

    #[test]
    fn a_key_has_at_most_256_octets() {
        let long = |octets| from_content(&vec![b'k'; octets]).map(|key| key.len());
        assert_eq!(long(256), Ok(256));
        assert_eq!(long(257), Err("holds a key of 257 octets; at most 256 are possible".to_owned()));
        let hex = |octets| {
            let content = format!("0x{}\r\n", "6b".repeat(octets));
            assert_eq!(content.len() <= MAX_FILE, octets <= 256);
            from_content(content.as_bytes()).map(|key| key.len())
        };
        assert_eq!(hex(256), Ok(256));
        assert!(hex(257).is_err());
    }

    proptest! {
        #[test]
        fn neither_debug_nor_an_error_shows_a_part_of_the_key(text in "(0x)?[a-p]{0,300}\n?") {
            let said = match from_content(text.as_bytes()) {
                Ok(key) => format!("{key:?}"),
                Err(problem) => problem,
            };
            for window in text.trim_start_matches("0x").as_bytes().windows(6) {
                prop_assert!(!said.contains(std::str::from_utf8(window).unwrap()), "{}", said);
            }
        }
    }
}
