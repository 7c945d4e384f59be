//! A fuzzer's octets, cut up; and what must hold of every message that is read from them.

use getvpn_gdoi::wire::{Body, Compat, ExchangeType, Payload, PayloadType, encode_chain};

/// The most pieces that one input is cut into.
const MAX_PIECES: usize = 8;

/// A fuzzer's octets: a few that choose, then pieces.
#[derive(Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All octets of an input.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The next octet, zero behind the end.
    pub fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next two octets as a number, zero behind the end.
    pub fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    /// All octets that are left.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The next piece, behind two octets of length. The last may be shorter than that says.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.number());
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// The pieces that are left, at most eight.
    pub fn pieces(mut self) -> impl Iterator<Item = &'a [u8]> {
        let next = move || (!self.0.is_empty()).then(|| self.piece());
        std::iter::from_fn(next).take(MAX_PIECES)
    }
}

/// Reads a message's body. What was read can be written, and then reads as it was.
pub fn reads_again(first: PayloadType, exchange: ExchangeType, octets: &[u8], compat: Compat) {
    let body = match Body::decode(first, exchange, octets, compat) {
        Ok(body) => body,
        Err(error) => {
            assert!(error.offset <= octets.len() && !error.to_string().is_empty());
            return;
        }
    };
    let payloads: Vec<Payload> = body.payloads().iter().map(|located| located.payload.clone()).collect();
    for located in body.payloads() {
        let parts = [body.before(located), body.raw(located), body.after(located), body.padding()];
        assert_eq!(parts.concat(), octets);
        let kind = located.payload.payload_type();
        let alone = Payload::decode(kind, exchange, body.content(located), compat);
        assert_eq!(alone.as_ref(), Ok(&located.payload));
    }
    assert!(!format!("{body:?}").is_empty());
    let chain = encode_chain(&payloads, PayloadType::None, compat).unwrap();
    let again = Body::decode(chain.first, exchange, &chain.octets, compat).unwrap();
    assert!(again.payloads().iter().map(|located| &located.payload).eq(&payloads));
    assert!(again.padding().is_empty());
}
