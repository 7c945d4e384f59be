//! What is written reads as it was, and every payload knows which octets are its own.

use proptest::prelude::*;

use super::strategy::{compat, message};
use super::*;

proptest! {
    #[test]
    fn what_is_written_reads_as_it_was(
        (exchange, payloads) in message(),
        compat in compat(),
        padding in proptest::collection::vec(any::<u8>(), 0..16),
    ) {
        let chain = encode_chain(&payloads, PayloadType::None, compat).unwrap();
        let padded = [chain.octets.as_slice(), &padding].concat();
        let body = Body::decode(chain.first, exchange, &padded, compat).unwrap();
        let read: Vec<_> = body.payloads().iter().map(|located| located.payload.clone()).collect();
        prop_assert_eq!(&read, &payloads);
        prop_assert_eq!(body.octets(), chain.octets.as_slice());
        prop_assert_eq!(body.padding(), padding.as_slice());

        let again = encode_chain(&read, PayloadType::None, compat).unwrap();
        prop_assert_eq!(again.first, chain.first);
        prop_assert_eq!(again.octets.as_slice(), chain.octets.as_slice());
    }

    #[test]
    fn each_payload_knows_its_octets((exchange, payloads) in message()) {
        let chain = encode_chain(&payloads, PayloadType::None, Compat::Standard).unwrap();
        let body = Body::decode(chain.first, exchange, &chain.octets, Compat::Standard).unwrap();
        for located in body.payloads() {
            let parts = [body.before(located), body.raw(located), body.after(located)];
            prop_assert_eq!(parts.concat(), chain.octets.as_slice());
            let length = u16::from_be_bytes([body.raw(located)[2], body.raw(located)[3]]);
            prop_assert_eq!(usize::from(length), body.raw(located).len());
            let read = Payload::decode(
                located.payload.payload_type(),
                exchange,
                body.content(located),
                Compat::Standard,
            );
            prop_assert_eq!(read.as_ref(), Ok(&located.payload));
        }
    }

    #[test]
    fn a_message_written_in_two_parts_is_the_message((exchange, payloads) in message()) {
        let whole = encode_chain(&payloads, PayloadType::None, Compat::Standard).unwrap();
        for split in 0..=payloads.len() {
            let (before, after) = payloads.split_at(split);
            let after = encode_chain(after, PayloadType::None, Compat::Standard).unwrap();
            let before = encode_chain(before, after.first, Compat::Standard).unwrap();
            prop_assert_eq!(before.first, whole.first);
            prop_assert_eq!([before.octets.as_slice(), &after.octets].concat(), whole.octets.as_slice());
        }
        prop_assert!(Body::decode(whole.first, exchange, &whole.octets, Compat::Standard).is_ok());
    }

    #[test]
    fn a_header_reads_as_it_was(
        cookies in any::<[u8; 16]>(),
        (next, exchange, flags) in (any::<u8>(), any::<u8>(), 0u8..8),
        message_id in any::<u32>(),
        body in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let flags = Flags { encryption: flags & 1 != 0, commit: flags & 2 != 0, auth_only: flags & 4 != 0 };
        let header = Header::new(cookies.into(), next.into(), exchange.into(), flags, message_id);
        let datagram = header.datagram(&body).unwrap();
        let (read, rest) = split_datagram(&datagram).unwrap();
        prop_assert_eq!(read, header.with_body_len(body.len()).unwrap());
        prop_assert_eq!(rest, body.as_slice());
    }
}
