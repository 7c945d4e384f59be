//! Any octets from the LAN: nothing panics, every frame ends in one verdict, no buffer is lost, and what
//! leaves encrypted is opened by another member, fragment by fragment.

#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::cell::RefCell;

use common::{Member, params, prefix, state};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{Mode, PolicyState, Selector};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static MEMBERS: RefCell<[(Member, Member); 2]> = RefCell::new([Mode::Tunnel, Mode::Transport].map(|mode| {
        let state = everything(mode);
        (Member::new(&state, 1300), Member::new(&state, 1300))
    }));
}

/// Policy that protects all of IP, so that the fuzzer need not find the addresses.
fn everything(mode: Mode) -> PolicyState {
    let selectors: Vec<_> =
        ["0.0.0.0/0", "::/0"].map(|all| Selector::between(prefix(all), prefix(all))).into();
    let mut params = params(0x1001, Transform::Aes128Gcm, mode);
    params.selectors.clone_from(&selectors);
    let mut state = state(&[params]);
    state.groups[0].selectors = selectors;
    state
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let mut frames = common::split(rest);
    if kind & 2 != 0 {
        frames.iter_mut().for_each(|frame| *frame = common::mended(frame));
    }
    MEMBERS.with_borrow_mut(|members| {
        let (a, b) = &mut members[usize::from(kind & 1)];
        for member in [&mut *a, &mut *b] {
            member.now += dpdk::cycles_hz() / 1000;
        }
        let before = (a.tally.encrypted, a.tally.fragments, b.tally.decrypted);
        let out = a.lan_in(&frames);
        let encrypted = a.tally.encrypted - before.0;
        b.wan_in(&out.wan);
        if a.tally.fragments == before.1 && a.tally.parked == 0 && kind & 1 == 0 {
            assert_eq!(b.tally.decrypted - before.2, encrypted, "{:?}", b.tally);
        }
        for member in [a, b] {
            member.expire();
            assert_eq!(u64::from(member.buffers_in_use()), member.tally.parked);
        }
    });
});
