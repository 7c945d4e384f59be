//! A stranger's messages to a responder of main mode in each of its states: see [`phase1::attack`].

#![no_main]

use getvpn_control_fuzz::{Input, phase1};
use getvpn_gdoi::ike::Role;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| phase1::attack(Role::Responder, Input::new(octets)));
