//! Tests of the codec: octets that others wrote, round trips of generated messages, and octets that are
//! not messages.

mod golden_gdoi;
mod golden_isakmp;
mod hostile;
mod limits;
mod round_trip;
mod strategy;

use super::*;

/// Octets from hex digits; spaces separate fields.
fn hex(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2));
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Checks that `content` reads as `payload` and that `payload` is written as `content`.
#[track_caller]
fn check(exchange: ExchangeType, compat: Compat, content: &str, payload: &Payload) {
    let content = hex(content);
    let payload_type = payload.payload_type();
    assert_eq!(Payload::decode(payload_type, exchange, &content, compat).as_ref(), Ok(payload));
    let chain = encode_chain(std::slice::from_ref(payload), PayloadType::None, compat).unwrap();
    assert_eq!(chain.first, payload_type);
    let length = u16::try_from(content.len() + 4).unwrap().to_be_bytes();
    assert_eq!(chain.octets[..4], [0, 0, length[0], length[1]]);
    assert_eq!(chain.octets[4..], content);
}
