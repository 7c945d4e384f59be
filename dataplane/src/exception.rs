//! The exception port: what arrives on the WAN for this machine itself goes to a device of the kernel's (a
//! TAP), and what comes from there goes out on the WAN, so that a member without a management NIC reaches its
//! key server through the link that it protects. Workers only pass frames on; the control thread, which may
//! make system calls, moves them to and from the device.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use dpdk::{BURST, Burst, Mbuf, RxQueue, TxQueue};

use crate::context::Context;
use crate::outbound::Mail;
use crate::packet::ethernet;
use crate::packet::{Parsed, parse, protocol};
use crate::verdict::DropReason;

/// Frames that may wait in either direction.
const CAPACITY: usize = 256;
/// Bursts that are moved at a time in either direction: each frame costs the control thread a system call.
const BURSTS: usize = 2;

/// GDOI (RFC 6407 section 2.1), for multicast rekeys.
const GDOI: u16 = 848;
/// A DHCP client (RFC 2131 section 4.1): servers may answer to all.
const DHCP_CLIENT: u16 = 68;
const IGMP: u8 = 2;
const ARP: u16 = 0x0806;

/// Makes both ends for a link, whose exception port has the Ethernet address `mac`. Second comes what the
/// WAN's receivers share, third what its sender takes frames from.
pub(crate) fn exception(rx: RxQueue, tx: TxQueue, mac: [u8; 6]) -> (ExceptionPort, Diverter, Mail) {
    let queue = || Arc::new(ArrayQueue::<Mbuf>::new(CAPACITY));
    let (from_wan, to_wan) = (queue(), queue());
    let diverter = Diverter { mac, host: Arc::clone(&from_wan) };
    let mail = Arc::clone(&to_wan);
    (ExceptionPort { rx, tx, from_wan, to_wan }, diverter, mail)
}

/// A worker's end at the WAN.
#[derive(Clone, Debug)]
pub(crate) struct Diverter {
    mac: [u8; 6],
    host: Mail,
}

impl Diverter {
    /// Takes what is for this machine out of a burst from the WAN. Frames to a group that it may have to
    /// hear (ARP, neighbour discovery, IGMP, MLD, DHCP, GDOI) are copied and go their way.
    pub(crate) fn divert(&self, burst: &mut Burst, cx: &mut Context<'_>) {
        let mut others = Burst::new();
        for mbuf in burst.drain(..) {
            match mbuf.data().first_chunk::<6>() {
                Some(to) if *to == self.mac => self.take(mbuf, cx),
                Some(to) if to[0] & 1 != 0 && mbuf.is_contiguous() && is_to_be_heard(mbuf.data()) => {
                    // What is for this machine alone comes first.
                    if self.host.len() < CAPACITY / 2
                        && let Some(copy) = Mbuf::copy_from(cx.pool, mbuf.data())
                    {
                        let _ = self.host.push(copy);
                    }
                    others.push(mbuf);
                }
                _ => others.push(mbuf),
            }
        }
        *burst = others;
    }

    fn take(&self, mbuf: Mbuf, cx: &mut Context<'_>) {
        if cx.tap.follows() && !self.host.is_full() {
            cx.probe_diverts(&mbuf);
        }
        match self.host.push(mbuf) {
            Ok(()) => cx.tally.to_exception += 1,
            Err(mbuf) => cx.drop(mbuf, DropReason::ExceptionFull),
        }
    }
}

/// Whether a frame to a group concerns each station on the network, or each that asked for it.
fn is_to_be_heard(frame: &[u8]) -> bool {
    let headers = match parse(frame) {
        Parsed::NotIp => return ethernet::untag(frame).is_some_and(|untagged| untagged.ethertype == ARP),
        Parsed::Ip(headers) => headers,
        Parsed::Malformed(_) => return false,
    };
    let upper = frame.get(headers.upper_at()..headers.end()).unwrap_or_default();
    match headers.protocol {
        IGMP => true,
        // MLD (RFC 3810 section 5) and neighbour discovery (RFC 4861 section 4).
        protocol::ICMPV6 => matches!(upper.first(), Some(130..=137 | 143)),
        protocol::UDP => matches!(headers.ports(frame).1, GDOI | DHCP_CLIENT),
        _ => false,
    }
}

/// The control thread's end.
#[derive(Debug)]
pub(crate) struct ExceptionPort {
    rx: RxQueue,
    tx: TxQueue,
    from_wan: Mail,
    to_wan: Mail,
}

impl ExceptionPort {
    /// Moves some of the frames that wait on either side, without waiting. What the device does not take is
    /// lost, as on any port; what the workers have no room for stays in the device.
    pub(crate) fn exchange(&mut self) {
        for _ in 0..BURSTS {
            let mut burst: Burst = std::iter::from_fn(|| self.from_wan.pop()).take(BURST).collect();
            if burst.is_empty() {
                break;
            }
            self.tx.burst(&mut burst);
            dpdk::free_burst(&mut burst);
        }
        for _ in 0..BURSTS {
            // The workers only make more room.
            if CAPACITY - self.to_wan.len() < BURST {
                break;
            }
            let mut burst = Burst::new();
            if self.rx.burst(&mut burst) == 0 {
                break;
            }
            for mbuf in burst.drain(..) {
                let _ = self.to_wan.push(mbuf);
            }
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::is_to_be_heard;
    use etherparse::PacketBuilder;

    fn to_group() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xff; 6])
    }

    fn udp(port: u16) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = to_group().ipv4([10, 0, 0, 1], [239, 1, 1, 1], 9).udp(999, port);
        builder.write(&mut frame, &[0; 8]).unwrap();
        frame
    }

    fn ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = to_group().ipv4([10, 0, 0, 1], [224, 0, 0, 1], 1);
        builder.write(&mut frame, etherparse::IpNumber(protocol), payload).unwrap();
        frame
    }

    fn icmpv6(kind: u8) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = to_group().ipv6([0xfe; 16], [0xff; 16], 255).icmpv6_raw(kind, 0, [0; 4]);
        builder.write(&mut frame, &[0; 16]).unwrap();
        frame
    }

    #[test]
    fn what_every_station_must_hear_is_told_from_the_traffic_of_others() {
        let mut arp = vec![0xff; 6];
        arp.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06]);
        arp.extend([0; 46]);
        let mut tagged = arp.clone();
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
        let mut lldp = arp.clone();
        lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
        for frame in [arp, tagged, udp(848), udp(68), ip(2, &[0; 8]), icmpv6(135), icmpv6(134), icmpv6(143)] {
            assert!(is_to_be_heard(&frame), "{frame:02x?}");
        }
        for frame in [lldp, udp(5000), ip(50, &[0; 40]), icmpv6(128), vec![0xff; 6], vec![0xff; 20]] {
            assert!(!is_to_be_heard(&frame), "{frame:02x?}");
        }
    }
}
