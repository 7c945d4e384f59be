//! Any octets as a datagram and as a message's body, of every exchange and in either layout: nothing
//! panics, and what is read can be written and then reads as it was.

#![no_main]

use getvpn_control_fuzz::{Input, reads_again};
use getvpn_gdoi::wire::{Compat, split_datagram};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    if let Ok((header, body)) = split_datagram(octets) {
        assert_eq!(header.datagram(body).unwrap(), octets);
    }
    let mut input = Input::new(octets);
    let (kind, first) = (input.octet(), input.octet().into());
    let compat = if kind & 0x80 == 0 { Compat::Standard } else { Compat::Reference };
    reads_again(first, (kind & 0x7f).into(), input.rest(), compat);
});
