//! Any octets as a request line of the control socket: nothing panics, and a request that is read can
//! be written and then reads as it was.

#![no_main]

use getvpn_ctl::Command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    match Command::decode(line) {
        Ok(command) => {
            let again = command.encode();
            assert_eq!(Command::decode(again.trim_end().as_bytes()), Ok(command));
        }
        Err(fault) => assert!(!fault.message.is_empty()),
    }
});
