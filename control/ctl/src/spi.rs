//! An SPI as people and JSON write it. Any thread; holds no state.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A security parameters index (RFC 4303 section 2.1). Written as `0x` and eight hexadecimal
/// digits; read in that form, shorter, or in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(pub u32);

/// A text that is no SPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an SPI is a number of 32 bits, such as 0x00010001 or 65537")]
pub struct ParseSpiError;

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl FromStr for Spi {
    type Err = ParseSpiError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => (hex, 16),
            None => (text, 10),
        };
        // from_str_radix would take a sign.
        if !digits.starts_with(|c: char| c.is_digit(radix)) {
            return Err(ParseSpiError);
        }
        u32::from_str_radix(digits, radix).map(Spi).map_err(|_| ParseSpiError)
    }
}

impl Serialize for Spi {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Spi {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Spi;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an SPI: a number of 32 bits, or a string such as \"0x00010001\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Spi, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Spi, E> {
                u32::try_from(number)
                    .map(Spi)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Spi, E> {
                u32::try_from(number)
                    .map(Spi)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Spi;
    use proptest::prelude::*;

    #[test]
    fn an_spi_is_read_in_hexadecimal_and_in_decimal() {
        for text in ["0x00010001", "0x10001", "0X10001", "65537"] {
            assert_eq!(text.parse(), Ok(Spi(65537)), "{text}");
        }
        assert_eq!("0xffffffff".parse(), Ok(Spi(u32::MAX)));
    }

    #[test]
    fn what_is_no_number_of_32_bits_is_no_spi() {
        for text in ["", "0x", "-1", "+1", "0x+1", "0x-1", "4294967296", "0x100000000", "10001h", " 1", "1 "]
        {
            assert!(text.parse::<Spi>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn json_takes_a_string_or_a_number() {
        for json in ["\"0x00010001\"", "\"65537\"", "65537"] {
            assert_eq!(serde_json::from_str::<Spi>(json).unwrap(), Spi(65537));
        }
        for json in ["-1", "4294967296", "1.5", "null", "\"x\"", "[1]"] {
            assert!(serde_json::from_str::<Spi>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(spi in any::<u32>()) {
            prop_assert_eq!(Spi(spi).to_string().parse(), Ok(Spi(spi)));
            prop_assert_eq!(spi.to_string().parse(), Ok(Spi(spi)));
            let json = serde_json::to_string(&Spi(spi)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Spi>(&json).unwrap(), Spi(spi));
        }
    }
}
