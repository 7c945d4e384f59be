//! Any octets from the WAN: frames as they are, and authentic ESP around any plaintext, so that the
//! fuzzer gets past the cipher. Nothing panics, every frame ends in one verdict, no buffer is lost.

#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::cell::RefCell;

use common::{Member, params, state};
use getvpn_dataplane::transform::{Cipher, SealJob, Transform, seal_burst};
use getvpn_dataplane::{Mode, PolicyState};
use libfuzzer_sys::fuzz_target;

const TRANSFORM: Transform = Transform::Aes128Gcm;
const TUNNEL: u32 = 0x1001;
const TRANSPORT: u32 = 0x1002;

thread_local! {
    static MEMBER: RefCell<Member> = RefCell::new(Member::new(&both(), 1500));
    static CIPHERS: [(u32, Cipher); 2] = [TUNNEL, TRANSPORT].map(|spi| {
        let p = params(spi, TRANSFORM, Mode::Tunnel);
        (spi, Cipher::new(TRANSFORM, &p.key, &p.integrity_key).unwrap())
    });
}

fn both() -> PolicyState {
    state(&[params(TUNNEL, TRANSFORM, Mode::Tunnel), params(TRANSPORT, TRANSFORM, Mode::Transport)])
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let frames = match kind {
        0..0x40 => common::split(rest),
        0x40..0x80 => common::split(rest).iter().map(|frame| common::mended(frame)).collect(),
        _ => CIPHERS.with(|ciphers| {
            let (spi, cipher) = &ciphers[usize::from(kind & 1)];
            let split = rest.len().min(usize::from(kind & 0x7e));
            let (front, plaintext) = rest.split_at(split);
            common::split(front).into_iter().chain(sealed(*spi, cipher, plaintext)).collect()
        }),
    };
    MEMBER.with_borrow_mut(|member| {
        member.now += dpdk::cycles_hz() / 1000;
        member.wan_in(&frames);
        member.expire();
        assert_eq!(u64::from(member.buffers_in_use()), member.tally.parked);
    });
});

/// Authentic ESP around the plaintext, cut to whole blocks.
fn sealed(spi: u32, cipher: &Cipher, plaintext: &[u8]) -> Option<Vec<u8>> {
    let plaintext = &plaintext[..plaintext.len() / 4 * 4];
    let mut esp = [&spi.to_be_bytes()[..], &7u32.to_be_bytes(), &[0; 8], plaintext, &[0; 16]].concat();
    let mut jobs = [SealJob::new(cipher, &mut esp, 7)];
    seal_burst(&mut jobs);
    jobs[0].sealed.then(|| common::raw4(50, &esp))
}
