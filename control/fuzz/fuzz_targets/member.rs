//! Anybody's messages to a group member in each of its states: see [`member::attack`].

#![no_main]

use getvpn_control_fuzz::{Input, member};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| member::attack(Input::new(octets)));
