//! What a parsed packet looks like: where its headers lie and what they say. Made once per packet by
//! the parser; everything behind it relies on these offsets instead of looking again.

use super::flow::Flow;
use super::{ipv4, ipv6, protocol};
use std::net::IpAddr;

/// Which IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

/// Which part of a datagram a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// All of it. So does an IPv6 atomic fragment (RFC 6946).
    None,
    /// The first part: it carries the upper-layer header.
    First,
    /// Any other part: protocol known, ports not.
    Later,
}

/// The headers of one IP packet. Offsets and lengths are in octets; offsets named `_at` count from the
/// start of the octets that were parsed, which is the frame for [`parse`](super::parse) and the packet
/// for [`parse_ip`](super::parse_ip). All of them lie inside those octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The Ethernet header with its VLAN tags: 14, 18 or 22; 0 for an inner packet.
    pub l2_len: u16,
    /// Which IP.
    pub version: Version,
    /// The IP header with its options, or with its extension headers up to the upper-layer protocol.
    /// For a later fragment of IPv6, up to the end of the Fragment header.
    pub ip_len: u16,
    /// The IP packet by its own length field: Ethernet padding is not part of it.
    pub total_len: u32,
    /// The upper-layer protocol: what follows `ip_len` octets of IP. Hop-by-hop options, routing,
    /// fragment and destination options headers are stepped over; ESP, AH and the Mobility header are
    /// upper-layer protocols, as IPsec sees them (RFC 4301 section 4.4.1.1).
    pub protocol: u8,
    /// Where the octet is that names `protocol`.
    pub protocol_at: u16,
    /// Where a transport-mode ESP header goes: after the IPv4 header; in IPv6 after hop-by-hop
    /// options, routing and fragment headers, before final destination options (RFC 4303 section
    /// 3.1.1).
    pub transport_insert_at: u16,
    /// Where the octet is that names what stands at `transport_insert_at`.
    pub transport_next_at: u16,
    /// Where the IPv6 Fragment header is; 0 if there is none.
    pub fragment_at: u16,
    /// Which part of its datagram the packet carries.
    pub fragment: Fragment,
    /// IPv4's DF. Always set for IPv6, whose packets nobody but their source may fragment.
    pub dont_fragment: bool,
}

impl Headers {
    /// Where the upper-layer header begins.
    #[inline]
    #[must_use]
    pub fn upper_at(&self) -> usize {
        usize::from(self.l2_len) + usize::from(self.ip_len)
    }

    /// Where the IP packet ends. Octets behind it are padding.
    #[inline]
    #[must_use]
    pub fn end(&self) -> usize {
        usize::from(self.l2_len) + self.total_len as usize
    }

    /// Octets of upper-layer header and data.
    #[inline]
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.total_len as usize - usize::from(self.ip_len)
    }

    /// What policy classifies the packet by. `octets` must be those that these headers were parsed
    /// from: the key is made only where it is wanted, which is cheaper than to carry it along.
    #[inline(always)]
    #[must_use]
    pub fn flow(&self, octets: &[u8]) -> Flow {
        let ports = self.port_octets(octets);
        match self.version {
            Version::V4 => Flow::V4(ipv4::key(self.ip(octets), self.protocol, ports)),
            Version::V6 => Flow::V6(ipv6::key(self.ip(octets), self.protocol, ports)),
        }
    }

    /// Source and destination address of an IPv4 packet, as numbers; `octets` as for [`Headers::flow`].
    #[inline(always)]
    pub(crate) fn addresses4(&self, octets: &[u8]) -> (u32, u32) {
        let key = ipv4::key(self.ip(octets), 0, [0; 4]);
        (u32::from_be_bytes(key.src), u32::from_be_bytes(key.dst))
    }

    /// The same of an IPv6 packet.
    #[inline]
    pub(crate) fn addresses6(&self, octets: &[u8]) -> (u128, u128) {
        let key = ipv6::key(self.ip(octets), 0, [0; 4]);
        (u128::from_be_bytes(key.src), u128::from_be_bytes(key.dst))
    }

    /// Source and destination port, zeros where there are none; `octets` as for [`Headers::flow`].
    #[inline]
    pub(crate) fn ports(&self, octets: &[u8]) -> (u16, u16) {
        let [a, b, c, d] = self.port_octets(octets);
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    #[inline(always)]
    fn ip<'a>(&self, octets: &'a [u8]) -> &'a [u8] {
        octets.get(usize::from(self.l2_len)..).unwrap_or_default()
    }

    #[inline(always)]
    fn port_octets(&self, octets: &[u8]) -> [u8; 4] {
        if self.fragment == Fragment::Later || !protocol::has_ports(self.protocol) {
            return [0; 4];
        }
        octets.get(self.upper_at()..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default()
    }

    /// The source address; `octets` as for [`Headers::flow`].
    #[must_use]
    pub fn source(&self, octets: &[u8]) -> IpAddr {
        self.flow(octets).source()
    }

    /// The destination address; `octets` as for [`Headers::flow`].
    #[must_use]
    pub fn destination(&self, octets: &[u8]) -> IpAddr {
        self.flow(octets).destination()
    }

    /// The ECN field, two bits (RFC 3168 section 5), of the packet in `frame`, which must be the
    /// octets these headers were parsed from.
    #[inline]
    #[must_use]
    pub fn ecn(&self, frame: &[u8]) -> u8 {
        let ip = frame.get(usize::from(self.l2_len)..).and_then(<[u8]>::first_chunk::<2>);
        match (ip, self.version) {
            (Some(ip), Version::V4) => ip[1] & 3,
            (Some(ip), Version::V6) => ip[1] >> 4 & 3,
            (None, _) => 0,
        }
    }

    /// Writes the ECN field, with IPv4's checksum.
    #[inline]
    pub fn set_ecn(&self, frame: &mut [u8], ecn: u8) {
        let Some(ip) = frame.get_mut(usize::from(self.l2_len)..) else { return };
        match self.version {
            Version::V4 => {
                if let Some(header) = ip.first_chunk_mut() {
                    ipv4::set_ecn(header, ecn);
                }
            }
            Version::V6 => {
                if let Some(header) = ip.first_chunk_mut() {
                    ipv6::set_ecn(header, ecn);
                }
            }
        }
    }

    /// Takes off IPv4's DF, with the checksum.
    pub fn clear_dont_fragment(&self, frame: &mut [u8]) {
        let ip = frame.get_mut(usize::from(self.l2_len)..).and_then(<[u8]>::first_chunk_mut);
        if let (Version::V4, Some(header)) = (self.version, ip) {
            ipv4::clear_dont_fragment(header);
        }
    }

    /// Puts a header into the packet or takes one out, as far as the octets in front of it are
    /// concerned: the octet at `next_at` (`transport_next_at` to insert ESP, `protocol_at` to remove
    /// it) becomes `next`, and the packet's length `total_len`, with IPv4's checksum. False, with
    /// nothing written, if the length field cannot hold that.
    #[inline]
    #[must_use]
    pub fn set_next(&self, frame: &mut [u8], next_at: u16, next: u8, total_len: usize) -> bool {
        match self.version {
            Version::V4 => {
                let (Ok(total_len), Some(header)) = (
                    u16::try_from(total_len),
                    frame.get_mut(usize::from(self.l2_len)..).and_then(<[u8]>::first_chunk_mut),
                ) else {
                    return false;
                };
                ipv4::set_total_len(header, total_len);
                ipv4::set_protocol(header, next);
            }
            Version::V6 => {
                let Some(Ok(payload_len)) = total_len.checked_sub(ipv6::HEADER).map(u16::try_from) else {
                    return false;
                };
                let Some(octet) = frame.get_mut(usize::from(next_at)) else { return false };
                *octet = next;
                if let Some(header) =
                    frame.get_mut(usize::from(self.l2_len)..).and_then(<[u8]>::first_chunk_mut)
                {
                    ipv6::set_payload_len(header, payload_len);
                }
            }
        }
        true
    }
}
