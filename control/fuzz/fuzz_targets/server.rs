//! Anybody's messages to a key server in each of its states: see [`server::attack`].

#![no_main]

use getvpn_control_fuzz::{Input, server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| server::attack(Input::new(octets)));
