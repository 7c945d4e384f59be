//! A member's two pipelines between ports made of memory, driven a burst at a time, and the frames to
//! feed them with. After every burst the conservation law is checked.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use dpdk::testing::{RingPort, eal};
use dpdk::{Burst, Mbuf, Mempool, Port, PortConfig, Reassembler, cycles_hz};
use etherparse::{IpNumber, PacketBuilder};
use getvpn_dataplane::counters::Tally;
use getvpn_dataplane::inbound::Inbound;
use getvpn_dataplane::meter::Meter;
use getvpn_dataplane::offender::Offenders;
use getvpn_dataplane::outbound::{Exits, Mail, Outbound};
use getvpn_dataplane::parking::Lot;
use getvpn_dataplane::probe::{self, Event, Point, Probe, Tap};
use getvpn_dataplane::punt::{self, PuntReceiver, PuntSender};
use getvpn_dataplane::transform::{Cipher, SealJob, Transform, seal_burst};
use getvpn_dataplane::{
    Arrived, Context, Direction, DropReason, Egress, Enforce, Fragmenter, Fragments, Group, Mode, Origin,
    ParkingLimits, PolicyState, Prefix, ReplayPolicy, Sa, SaParams, Selector, Snapshot, WithoutSa,
};
use zeroize::Zeroizing;

/// What the member's probe has told since the last time.
pub fn told(member: &mut Member) -> Vec<Event> {
    let mut events = Vec::new();
    member.probe.take(|event| events.push(event));
    events
}

pub fn points(events: &[Event]) -> Vec<Point> {
    events.iter().map(|event| event.point).collect()
}

/// What came out on each side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Out {
    pub lan: Vec<Vec<u8>>,
    pub wan: Vec<Vec<u8>>,
}

pub struct Member {
    pub tally: Tally,
    pub offenders: Offenders,
    pub meter: Meter,
    pub snapshot: Snapshot,
    pub punts: PuntReceiver,
    pub now: u64,
    /// Octets of a segment that frames are put into; smaller than the frame makes chains.
    pub segment: usize,
    /// Runs what a worker does with a burst, and may look at how it does that.
    pub watch: fn(&mut dyn FnMut()),
    pool: Arc<Mempool>,
    large: Arc<Mempool>,
    inbound: Inbound,
    outbound: Outbound,
    lan: Side,
    wan: Side,
    mail: Mail,
    bin: Burst,
    punt_sender: PuntSender,
    lot: Lot<Arrived>,
    tap: Tap,
    pub probe: Probe,
    /// How often decisions were published.
    version: u64,
}

struct Side {
    wire: RingPort,
    egress: Egress,
    _port: Port,
}

impl Side {
    fn new(pool: &Arc<Mempool>) -> Side {
        let wire = RingPort::new(1, 512).unwrap();
        let info = Port::by_name(wire.name()).unwrap();
        let config = PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 256,
            tx_descriptors: 256,
            mtu: 1500,
            rss: false,
            promiscuous: true,
            pool: Arc::clone(pool),
        };
        let port = Port::configure(&info, &config).unwrap().start().unwrap();
        let egress = Egress::new(port.tx_queue(0).unwrap(), 0);
        Side { wire, egress, _port: port }
    }

    fn collect(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut burst = Burst::new();
        while self.wire.collect(0, &mut burst) > 0 {
            frames.extend(burst.drain(..).map(|mbuf| octets(&mbuf)));
        }
        frames
    }
}

fn octets(mbuf: &Mbuf) -> Vec<u8> {
    let mut frame = Vec::new();
    mbuf.read_to(&mut frame);
    frame
}

impl Member {
    pub fn new(state: &PolicyState, mtu: u16) -> Member {
        Self::with_parking(state, mtu, ParkingLimits { packets: 256, ..ParkingLimits::default() })
    }

    pub fn with_parking(state: &PolicyState, mtu: u16, limits: ParkingLimits) -> Member {
        eal();
        let pool = Mempool::new("frames", 1023, 0, 2048, None).unwrap();
        let large = Mempool::new("large", 31, 0, Mempool::MAX_DATA_ROOM, None).unwrap();
        let (mut senders, punts) = punt::channel(1, 64, cycles_hz());
        let (mut taps, probe) = probe::channel(1, 1, cycles_hz());
        let fragments = || Fragments::new(Reassembler::new(64, 1000, None).unwrap());
        Member {
            tally: Tally::default(),
            offenders: Offenders::new(cycles_hz()),
            meter: Meter::new(0, cycles_hz(), true),
            snapshot: Snapshot::build(state, None).unwrap(),
            punts,
            now: cycles_hz(),
            segment: usize::MAX,
            watch: |work| work(),
            inbound: Inbound::new(mtu, fragments(), Fragmenter::new()),
            outbound: Outbound::new(mtu, fragments(), Fragmenter::new()),
            lan: Side::new(&pool),
            wan: Side::new(&pool),
            mail: Arc::new(ArrayQueue::new(64)),
            bin: Burst::new(),
            punt_sender: senders.remove(0),
            lot: Lot::new(&limits, 4, cycles_hz()),
            tap: taps.remove(0),
            probe,
            version: 0,
            pool,
            large,
        }
    }

    /// Puts other decisions in force.
    pub fn publish(&mut self, state: &PolicyState) {
        self.snapshot = Snapshot::build(state, Some(&self.snapshot)).unwrap();
        self.version += 1;
    }

    pub fn lan_in(&mut self, frames: &[Vec<u8>]) -> Out {
        self.run(frames, true)
    }

    pub fn wan_in(&mut self, frames: &[Vec<u8>]) -> Out {
        self.run(frames, false)
    }

    fn run(&mut self, frames: &[Vec<u8>], from_lan: bool) -> Out {
        let mut out = Out::default();
        // A turn without a frame does something too: what waits may go on.
        let nothing = [&frames[..0]];
        let chunks = frames.chunks(dpdk::BURST).chain(nothing.into_iter().filter(|_| frames.is_empty()));
        for chunk in chunks {
            let mut burst: Burst = chunk.iter().map(|f| self.mbuf(f)).collect();
            (self.watch)(&mut || self.process(&mut burst, from_lan));
            assert_eq!(self.tally.received(), self.tally.accounted(), "{:?}", self.tally);
            out.lan.extend(std::iter::from_fn(|| self.mail.pop()).map(|mbuf| octets(&mbuf)));
            out.lan.extend(self.lan.collect());
            out.wan.extend(self.wan.collect());
        }
        out
    }

    /// Frames from the LAN whose WAN nobody empties meanwhile.
    pub fn stuff(&mut self, frames: &[Vec<u8>]) {
        for chunk in frames.chunks(dpdk::BURST) {
            let mut burst: Burst = chunk.iter().map(|f| self.mbuf(f)).collect();
            self.process(&mut burst, true);
        }
        while !self.wan.collect().is_empty() {}
    }

    /// What a worker does with a burst.
    fn process(&mut self, burst: &mut Burst, from_lan: bool) {
        self.tally.rx += burst.len() as u64;
        self.tap.look();
        self.lot.follow(self.version, |spi| self.snapshot.knows(spi));
        let mut cx = Context {
            worker: 0,
            link: 0,
            origin: if from_lan { Origin::Lan } else { Origin::Wan },
            now: self.now,
            snapshot: &self.snapshot,
            tally: &mut self.tally,
            offenders: &mut self.offenders,
            meter: &mut self.meter,
            bin: &mut self.bin,
            punts: &mut self.punt_sender,
            lot: &mut self.lot,
            tap: &mut self.tap,
            pool: &self.pool,
            large: &self.large,
        };
        if from_lan {
            let mut exits = Exits { wan: &mut self.wan.egress, lan: &self.mail };
            self.outbound.process(burst, &mut cx, &mut exits);
            self.wan.egress.flush(&mut cx);
        } else {
            self.inbound.process(burst, &mut cx, &mut self.lan.egress);
            self.lan.egress.flush(&mut cx);
        }
        dpdk::free_burst(&mut self.bin);
    }

    /// Lets what is held grow old.
    pub fn expire(&mut self) {
        self.each_pipeline(|inbound, outbound, cx| {
            inbound.expire(cx);
            outbound.expire(cx);
        });
    }

    /// Ends what is held, as for a stop.
    pub fn drain(&mut self) {
        self.each_pipeline(|inbound, outbound, cx| {
            inbound.drain(cx);
            outbound.drain(cx);
        });
    }

    fn each_pipeline(&mut self, act: impl FnOnce(&mut Inbound, &mut Outbound, &mut Context<'_>)) {
        self.tap.look();
        let mut cx = Context {
            worker: 0,
            link: 0,
            origin: Origin::Wan,
            now: self.now,
            snapshot: &self.snapshot,
            tally: &mut self.tally,
            offenders: &mut self.offenders,
            meter: &mut self.meter,
            bin: &mut self.bin,
            punts: &mut self.punt_sender,
            lot: &mut self.lot,
            tap: &mut self.tap,
            pool: &self.pool,
            large: &self.large,
        };
        act(&mut self.inbound, &mut self.outbound, &mut cx);
        dpdk::free_burst(&mut self.bin);
        assert_eq!(self.tally.received(), self.tally.accounted());
    }

    fn mbuf(&self, frame: &[u8]) -> Mbuf {
        let mut segments =
            frame.chunks(self.segment.min(2000)).map(|c| Mbuf::copy_from(&self.pool, c).unwrap());
        let mut mbuf = segments.next().unwrap_or_else(|| Mbuf::alloc(&self.pool).unwrap());
        for segment in segments {
            mbuf.chain(segment).unwrap();
        }
        mbuf
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.tally.drops(reason)
    }

    /// Buffers that are neither free nor on a wire: a leak, if nothing is held.
    pub fn buffers_in_use(&self) -> u32 {
        self.pool.in_use() + self.large.in_use()
    }
}

pub fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

pub fn selectors() -> Vec<Selector> {
    vec![
        Selector::between(prefix("10.0.0.0/8"), prefix("10.0.0.0/8")),
        Selector::between(prefix("fd00::/8"), prefix("fd00::/8")),
        Selector::between(prefix("10.0.0.0/8"), prefix("239.0.0.0/8")),
    ]
}

pub fn params(spi: u32, transform: Transform, mode: Mode) -> SaParams {
    let key = |len: usize, seed: u8| Zeroizing::new((0..len).map(|i| seed.wrapping_add(i as u8)).collect());
    SaParams {
        spi,
        group: 0,
        transform,
        key: key(transform.key_len(), spi as u8),
        integrity_key: key(transform.integrity_key_len(), 0x80),
        mode,
        direction: Direction::Both,
        replay: ReplayPolicy::None,
        sid: 7,
        sid_bits: 16,
        first_counter: 1,
        reserved: u64::MAX,
        selectors: selectors(),
    }
}

pub fn group() -> Group {
    Group { name: "g".into(), without_sa: WithoutSa::Drop, enforce: Enforce::Both, selectors: selectors() }
}

pub fn state(sas: &[SaParams]) -> PolicyState {
    let sas = sas.iter().map(|p| Sa::new(p, 1).unwrap().into()).collect();
    PolicyState { groups: vec![group()], sas, ..Default::default() }
}

pub const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
pub const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

pub fn v4(last: u8) -> [u8; 4] {
    [10, 0, 0, last]
}

pub fn v6(last: u16) -> [u8; 16] {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).octets()
}

/// A UDP packet in an Ethernet frame, made by `etherparse`; it may be fragmented.
pub fn udp4(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(MAC_A, MAC_B).ipv4(v4(1), v4(2), 61).udp(4000, 5000);
    write(builder, payload)
}

pub fn udp6(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(MAC_A, MAC_B).ipv6(v6(1), v6(2), 61).udp(4000, 5000);
    write(builder, payload)
}

pub fn udp4_between(src: Ipv4Addr, dst: Ipv4Addr, src_port: u16, dst_port: u16) -> Vec<u8> {
    let builder =
        PacketBuilder::ethernet2(MAC_A, MAC_B).ipv4(src.octets(), dst.octets(), 61).udp(src_port, dst_port);
    write(builder, b"payload")
}

pub fn raw4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(MAC_A, MAC_B).ipv4(v4(1), v4(2), 61);
    let mut frame = Vec::new();
    builder.write(&mut frame, IpNumber(protocol), payload).unwrap();
    frame
}

fn write(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    if frame[12..14] == [0x08, 0x00] { with_ipv4(&frame, |ip| ip[6] = 0) } else { frame }
}

/// Authentic ESP with whatever plaintext, trailer included, which must fill whole blocks; AEADs only.
pub fn esp_around(sa: &SaParams, seq: u32, plaintext: &[u8]) -> Vec<u8> {
    let cipher = Cipher::new(sa.transform, &sa.key, &sa.integrity_key).unwrap();
    let mut esp = [&sa.spi.to_be_bytes()[..], &seq.to_be_bytes(), &[0; 8], plaintext, &[0; 16]].concat();
    let mut jobs = [SealJob::new(&cipher, &mut esp, seq.into())];
    seal_burst(&mut jobs);
    assert!(jobs[0].sealed);
    raw4(50, &esp)
}

/// The same with one or two VLAN tags.
pub fn tagged(frame: &[u8], tags: &[u16]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for (i, tag) in tags.iter().enumerate() {
        out.extend(if i + 1 < tags.len() { [0x88, 0xa8] } else { [0x81, 0x00] });
        out.extend(tag.to_be_bytes());
    }
    out.extend(&frame[12..]);
    out
}

/// Sets a field of the IPv4 header of an untagged frame and corrects the checksum.
pub fn with_ipv4(frame: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let header_len = usize::from(frame[14] & 15) * 4;
    let header = &mut frame[14..14 + header_len];
    change(header);
    header[10..12].fill(0);
    let mut sum: u32 = header.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame
}

/// The SPI of an untagged ESP frame.
pub fn spi_at(frame: &[u8]) -> usize {
    if frame[14] >> 4 == 4 { 14 + usize::from(frame[14] & 15) * 4 } else { 54 }
}

pub fn addresses(out: &[u8]) -> (IpAddr, IpAddr) {
    let packet = &out[14..];
    let headers = getvpn_dataplane::packet::parse_ip(packet).unwrap();
    (headers.source(packet), headers.destination(packet))
}

/// The frame with a right IPv4 checksum, which random octets have not, so that a fuzzer gets past it.
pub fn mended(frame: &[u8]) -> Vec<u8> {
    let header_len = frame.get(14).map_or(0, |first| usize::from(first & 15) * 4);
    let is_ipv4 = frame.get(12..14) == Some(&[0x08, 0x00]) && header_len >= 20;
    if is_ipv4 && frame.len() >= 14 + header_len { with_ipv4(frame, |_| ()) } else { frame.to_vec() }
}

/// Cuts octets into frames, each behind two octets of length, for fuzzers.
pub fn split(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = octets.split_first_chunk::<2>() {
        let (frame, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        frames.push(frame.to_vec());
        octets = rest;
    }
    frames
}

/// Octets of no meaning.
pub fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7) as u8).collect()
}

/// The same with DF.
pub fn dont_fragment(frame: &[u8]) -> Vec<u8> {
    with_ipv4(frame, |ip| ip[6] |= 0x40)
}

/// Cuts the IPv4 packet of a frame into fragments whose payloads have at most `size` octets.
pub fn cut4(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let parts: Vec<_> = frame[34..].chunks(size).collect();
    let last = parts.len() - 1;
    let make = |(i, part): (usize, &&[u8])| {
        let fragment = [&frame[..34], *part].concat();
        with_ipv4(&fragment, |ip| {
            ip[2..4].copy_from_slice(&((20 + part.len()) as u16).to_be_bytes());
            let more = if i < last { 0x2000 } else { 0 };
            ip[6..8].copy_from_slice(&(more | (i * size / 8) as u16).to_be_bytes());
        })
    };
    parts.iter().enumerate().map(make).collect()
}
