//! Rekeys of any content, forged and real: see [`rekey::to_member`].

#![no_main]

use getvpn_control_fuzz::{Input, rekey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| rekey::to_member(Input::new(octets)));
