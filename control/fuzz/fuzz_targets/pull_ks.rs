//! A member's messages of a registration, of any content: see [`registration::to_server`].

#![no_main]

use getvpn_control_fuzz::{Input, registration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| registration::to_server(Input::new(octets)));
