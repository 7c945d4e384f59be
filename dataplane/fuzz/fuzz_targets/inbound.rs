//! Any octets from the WAN: frames as they are, and authentic ESP around any plaintext, so that the
//! fuzzer gets past the cipher. Nothing panics, every frame ends in one verdict, no buffer is lost.

#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::cell::RefCell;

use common::{Member, params, prefix, state};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{LocalAction, LocalRule, Mode, PolicyState, SaParams, Selector};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static MEMBER: RefCell<Member> = RefCell::new(Member::new(&both(), 1500));
}

fn sas() -> [SaParams; 2] {
    [(0x1001, Mode::Tunnel), (0x1002, Mode::Transport)].map(|(spi, mode)| params(spi, Transform::Aes128Gcm, mode))
}

/// Two SAs; and some of the ESP with other SPIs is exempt, so that it is not only turned away.
fn both() -> PolicyState {
    let hosts = prefix("10.0.0.0/24");
    let selector = Selector { protocol: Some(50), ..Selector::between(hosts, hosts) };
    PolicyState { local: vec![LocalRule { selector, action: LocalAction::Bypass }], ..state(&sas()) }
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let frames = match kind {
        0..0x40 => common::split(rest),
        0x40..0x80 => common::split(rest).iter().map(|frame| common::mended(frame)).collect(),
        _ => {
            let sa = &sas()[usize::from(kind & 1)];
            let split = rest.len().min(usize::from(kind & 0x7e));
            let (front, plaintext) = rest.split_at(split);
            let whole_blocks = &plaintext[..plaintext.len() / 4 * 4];
            common::split(front).into_iter().chain([common::esp_around(sa, 7, whole_blocks)]).collect()
        }
    };
    MEMBER.with_borrow_mut(|member| {
        member.now += dpdk::cycles_hz() / 1000;
        member.wan_in(&frames);
        member.expire();
        assert_eq!(u64::from(member.buffers_in_use()), member.tally.parked);
    });
});
