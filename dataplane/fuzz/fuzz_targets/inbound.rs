//! Any octets from the WAN: frames as they are, and authentic ESP around any plaintext, so that the
//! fuzzer gets past the cipher; sometimes an SA is missing and comes later. Nothing panics, every frame ends
//! in one verdict or waits, no buffer is lost.

#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::cell::RefCell;

use common::{Member, params, prefix, state};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{LocalAction, LocalRule, Mode, PolicyState, SaParams, Selector, SpiTest};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static MEMBER: RefCell<Member> = RefCell::new(Member::new(&with(&sas()), 1500));
}

fn sas() -> [SaParams; 2] {
    [(0x1001, Mode::Tunnel), (0x1002, Mode::Transport)].map(|(spi, mode)| params(spi, Transform::Aes128Gcm, mode))
}

/// Some of the ESP with other SPIs than these SAs' is exempt, the rest waits for what its SA may be.
fn with(sas: &[SaParams]) -> PolicyState {
    let hosts = prefix("10.0.0.0/24");
    let selector = Selector { protocol: Some(50), ..Selector::between(hosts, hosts) };
    let local = vec![LocalRule { selector, action: LocalAction::Bypass }];
    PolicyState { local, spi_test: SpiTest::new([], true), ..state(sas) }
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
        if kind & 2 != 0 {
            member.publish(&with(&sas()[..1]));
        }
        member.wan_in(&frames);
        if kind & 2 != 0 {
            member.publish(&with(&sas()));
            member.wan_in(&frames);
        }
        member.expire();
        // A datagram that was put together and waits is in fewer buffers than it came in.
        assert!(u64::from(member.buffers_in_use()) <= member.tally.parked);
    });
});
