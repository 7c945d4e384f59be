//! What is measured with: SAs, policy, and frames in the clear and sealed, of the sizes that the budget
//! names. Made before anything is timed.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dpdk::{BURST, Burst, Mbuf, Mempool};
use etherparse::{IpNumber, PacketBuilder};
use getvpn_dataplane::packet::{esp, protocol};
use getvpn_dataplane::transform::{Cipher, SealJob, Transform, seal_burst};
use getvpn_dataplane::{
    Direction, Enforce, Group, Mode, PolicyState, Prefix, ReplayPolicy, Sa, SaParams, Selector, Snapshot,
    WithoutSa,
};
use zeroize::Zeroizing;

/// A mix of AEAD plaintexts: inner packet and ESP trailer, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// As the table calls it.
    pub name: &'static str,
    /// Places in [`LENGTHS`], packet after packet.
    mix: &'static [usize],
}

/// The sizes of the budget.
pub const SIZES: [Size; 4] = [
    Size { name: "64", mix: &[0] },
    Size { name: "384", mix: &[1] },
    Size { name: "1408", mix: &[3] },
    // 7 x 64, 4 x 576, 1 x 1408.
    Size { name: "IMIX", mix: &[0, 2, 0, 2, 0, 0, 3, 2, 0, 0, 2, 0] },
];

/// Octets of AEAD plaintext.
const LENGTHS: [usize; 4] = [64, 384, 576, 1408];

impl Size {
    /// The plaintext of a packet on average, in octets.
    pub fn mean(&self) -> f64 {
        self.mix.iter().map(|&i| LENGTHS[i] as f64).sum::<f64>() / self.mix.len() as f64
    }
}

/// A number of SAs of one transform, a policy that uses them all, and frames for each.
pub struct Workload {
    pub transform: Transform,
    pub sas: usize,
    pub state: PolicyState,
    pub snapshot: Arc<Snapshot>,
    /// The same keys again, for the bare cryptography.
    pub ciphers: Vec<Cipher>,
    /// Indexed by place in [`LENGTHS`], then by SA.
    clear: Vec<Vec<Vec<u8>>>,
    sealed: Vec<Vec<Vec<u8>>>,
}

/// Which frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sealed, from the WAN.
    Inbound,
    /// In the clear, from the LAN.
    Outbound,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Inbound, Side::Outbound];

    pub fn name(self) -> &'static str {
        match self {
            Side::Inbound => "inbound",
            Side::Outbound => "outbound",
        }
    }
}

impl Workload {
    /// `sas` SAs; with more than one each has a group and selectors of its own, so that outbound
    /// packets of random sources use random SAs.
    pub fn new(transform: Transform, sas: usize) -> Result<Workload> {
        let state = policy(transform, 0, sas, ReplayPolicy::None)?;
        let ciphers = (0..sas)
            .map(|n| {
                Ok(Cipher::new(
                    transform,
                    &key(transform.key_len(), n),
                    &key(transform.integrity_key_len(), n),
                )?)
            })
            .collect::<Result<Vec<_>>>()?;
        let clear = frames(sas, clear_frame)?;
        let sealed = frames(sas, |n, length| sealed_frame(&ciphers[n], spi(n), 1, &clear_frame(n, length)?))?;
        let snapshot = Arc::new(Snapshot::build(&state, None)?);
        Ok(Workload { transform, sas, state, snapshot, ciphers, clear, sealed })
    }

    /// Where the ESP begins in a sealed frame, and the same distance in mbufs and bare buffers.
    pub const ESP_AT: usize = 34;

    pub fn frame(&self, side: Side, pick: Pick) -> &[u8] {
        match side {
            Side::Inbound => &self.sealed[pick.length][pick.sa],
            Side::Outbound => &self.clear[pick.length][pick.sa],
        }
    }

    /// An endless random sequence of SAs and sizes, the same for whoever asks with the same `seed`.
    pub fn picks(&self, size: Size, seed: u64) -> Picks {
        Picks { random: Random(seed | 1), sas: self.sas, mix: size.mix, at: 0 }
    }

    /// Copies frames to fresh mbufs, burst after burst.
    pub fn fill(&self, side: Side, bursts: &mut [Burst], pool: &Mempool, picks: &mut Picks) {
        for burst in bursts {
            let got = Mbuf::alloc_burst(pool, burst, BURST);
            assert_eq!(got, BURST, "the pool is exhausted: mbufs were lost");
            for mbuf in burst.iter_mut() {
                let frame = self.frame(side, picks.next());
                mbuf.append(frame.len()).expect("the frame fits a buffer").copy_from_slice(frame);
            }
        }
    }
}

/// One packet of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    /// Place in [`LENGTHS`].
    length: usize,
    /// Number of the SA.
    pub sa: usize,
}

/// See [`Workload::picks`].
#[derive(Clone, Debug)]
pub struct Picks {
    random: Random,
    sas: usize,
    mix: &'static [usize],
    at: usize,
}

impl Picks {
    #[inline]
    pub fn next(&mut self) -> Pick {
        self.at = (self.at + 1) % self.mix.len();
        Pick { length: self.mix[self.at], sa: self.random.below(self.sas) }
    }
}

/// A small generator of numbers that look random (xorshift).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    #[inline]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    #[inline]
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(((self.next() >> 32) * end as u64) >> 32).unwrap_or(0)
    }
}

/// The policy of `sas` SAs; `generation` sets keys and SPIs of one set apart from another's.
pub fn policy(
    transform: Transform,
    generation: usize,
    sas: usize,
    replay: ReplayPolicy,
) -> Result<PolicyState> {
    let mut state = PolicyState::default();
    for n in 0..sas {
        let selectors = vec![selector(n, sas)?];
        state.groups.push(Group {
            name: format!("group {n}"),
            without_sa: WithoutSa::Drop,
            enforce: Enforce::Both,
            selectors: selectors.clone(),
        });
        let number = generation * sas + n;
        let params = SaParams {
            spi: spi(number),
            group: n,
            transform,
            key: key(transform.key_len(), number),
            integrity_key: key(transform.integrity_key_len(), number),
            mode: Mode::Tunnel,
            direction: Direction::Both,
            replay,
            sid: 1,
            sid_bits: 16,
            first_counter: 1,
            reserved: u64::MAX,
            selectors,
        };
        state.sas.push(Sa::new(&params, 1)?.into());
    }
    Ok(state)
}

/// The selector of SA `n` out of `sas`: a /24 of sources, or everything when there is only one.
fn selector(n: usize, sas: usize) -> Result<Selector> {
    let source =
        if sas == 1 { Prefix::truncated(network(0).into(), 8) } else { Prefix::new(network(n).into(), 24) };
    let destination = Prefix::truncated(network(0).into(), 8);
    let (source, destination) = source.zip(destination).context("prefixes of the workload")?;
    Ok(Selector::between(source, destination))
}

fn network(n: usize) -> Ipv4Addr {
    let [.., high, low] = (n as u64).to_be_bytes();
    Ipv4Addr::new(10, high, low, 0)
}

/// SPIs in no order, as key servers choose them; never a reserved one.
#[expect(clippy::cast_possible_truncation, reason = "a hash")]
pub fn spi(n: usize) -> u32 {
    let n = (n as u32 ^ 0x5a5a).wrapping_mul(0x85eb_ca6b);
    (n ^ (n >> 15)).wrapping_mul(0xc2b2_ae35) | 0x100
}

/// A key of that many octets, the same for the same seed.
#[expect(clippy::cast_possible_truncation, reason = "octets")]
pub fn key(length: usize, seed: usize) -> Zeroizing<Vec<u8>> {
    let mut random = Random(seed as u64 * 0x9e37_79b9 + 1);
    Zeroizing::new((0..length).map(|_| (random.next() >> 32) as u8).collect())
}

fn frames(sas: usize, make: impl Fn(usize, usize) -> Result<Vec<u8>>) -> Result<Vec<Vec<Vec<u8>>>> {
    LENGTHS.iter().map(|&length| (0..sas).map(|n| make(n, length)).collect()).collect()
}

/// A frame of the smallest size under the only SA of [`policy`], with that sequence number.
pub fn numbered_frame(transform: Transform, seq: u32) -> Result<Vec<u8>> {
    let cipher =
        Cipher::new(transform, &key(transform.key_len(), 0), &key(transform.integrity_key_len(), 0))?;
    sealed_frame(&cipher, spi(0), seq, &clear_frame(0, LENGTHS[0])?)
}

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A UDP packet of SA `n` in an Ethernet frame that becomes `length` octets of AEAD plaintext.
fn clear_frame(n: usize, length: usize) -> Result<Vec<u8>> {
    const HEADERS: usize = 20 + 8;
    let [a, b, c, _] = network(n).octets();
    let builder = PacketBuilder::ethernet2(MAC, MAC).ipv4([a, b, c, 1], [10, 200, 0, 1], 64).udp(4000, 5000);
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(length - esp::TRAILER - HEADERS).collect();
    let mut frame = Vec::new();
    builder.write(&mut frame, &payload)?;
    Ok(frame)
}

/// The frame with ESP in tunnel mode around its packet.
fn sealed_frame(cipher: &Cipher, spi: u32, seq: u32, clear: &[u8]) -> Result<Vec<u8>> {
    const ETHERNET: usize = 14;
    let transform = cipher.transform();
    let inner = clear.get(ETHERNET..).context("a frame")?;
    let mut packet = vec![0; esp::HEADER];
    esp::write_header(packet.first_chunk_mut().context("a header")?, spi, seq);
    packet.resize(esp::HEADER + transform.iv_len(), 0);
    packet.extend(inner);
    let mut trailer = vec![0; esp::pad_len(inner.len(), transform.block()) + esp::TRAILER];
    ensure!(esp::write_trailer(&mut trailer, protocol::IPV4), "a trailer");
    packet.extend(trailer);
    packet.resize(packet.len() + transform.icv_len(), 0);
    let mut job = [SealJob::new(cipher, &mut packet, 1 << 48 | u64::from(seq))];
    seal_burst(&mut job);
    let [source, destination] = [26, 30].map(|at| clear.get(at..).and_then(|a| a.first_chunk::<4>()));
    let (source, destination) = source.zip(destination).context("addresses")?;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC, MAC).ipv4(*source, *destination, 64).write(
        &mut frame,
        IpNumber::ENCAPSULATING_SECURITY_PAYLOAD,
        &packet,
    )?;
    Ok(frame)
}
