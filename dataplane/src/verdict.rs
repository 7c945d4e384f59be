//! Why a packet was dropped: the one table that the code, `getvpnctl`, the metrics and the
//! documentation are made from. Read and written by every thread; holds no state.

/// Declares [`DropReason`] together with each reason's name, meaning and advice, so that none of
/// them can be forgotten or drift apart.
macro_rules! drop_reasons {
    ($($variant:ident, $name:literal, $meaning:literal, $advice:literal;)*) => {
        /// Why a packet was dropped. Every drop has exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $meaning] $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name used in counters, metrics and JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }

            /// What happened, in one line.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(DropReason::$variant => $meaning,)* }
            }

            /// What an operator should look at, in one line.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(DropReason::$variant => $advice,)* }
            }
        }
    };
}

drop_reasons! {
    FrameTruncated, "frame_truncated", "the frame ends inside a header",
        "look for a faulty NIC, cable or driver, or for a scanner";
    FrameTooLong, "frame_too_long", "the frame does not fit the largest packet buffer",
        "check the mtu of the link against what the neighbours send";
    VlanTags, "vlan_tags", "an IP packet behind more than two VLAN tags, where policy is not applied",
        "take off the outer tags before the member";
    Ipv4Header, "ipv4_header", "the IPv4 header is invalid: version, length or checksum",
        "find the sender by capture on the ingress port";
    Ipv6Header, "ipv6_header", "the IPv6 header or its extension headers are invalid or too many",
        "find the sender by capture on the ingress port";
    IpLength, "ip_length", "the IP length field says more octets than the frame holds",
        "find the sender by capture on the ingress port";
    Policy, "policy", "a local policy rule says drop",
        "check the [[policy]] rules of the configuration";
    NoSa, "no_sa", "policy says protect, the group has no active outbound SA, and it is fail-closed",
        "check the group's SAs with `getvpnctl sa list`; expired or deleted SAs must be replaced";
    Cleartext, "cleartext", "came in the clear from the WAN though policy says it must be encrypted",
        "the sender is not a member, or has lost its SAs, or its policy differs";
    PathMtu, "path_mtu", "an ICMP error of a router on the WAN: ESP did not fit its next link",
        "lower the link's `mtu` to what the path carries: packets of full size are lost there";
    TooBig, "too_big", "larger than the link's MTU after encryption and must not be fragmented",
        "normal during path MTU discovery; if it lasts, check that ICMP reaches the sender";
    TransportFragment, "transport_fragment", "a fragment met a transport-mode SA and could not be reassembled first",
        "use tunnel mode for traffic that is fragmented before it reaches the member";
    Iv, "iv_exhausted", "this sender ID has used all its IVs or sequence numbers under this key",
        "the SA needs new keys or the member a new sender ID";
    SealFailed, "seal_failed", "the cipher refused the packet",
        "a fault in getvpn: report it with `getvpnctl sa show`";
    EspTruncated, "esp_truncated", "too short for its SA's ESP header, IV and ICV, or not a multiple of its block",
        "find the sender by capture on the WAN port";
    UnknownSpi, "unknown_spi", "no SA with this SPI",
        "see `getvpnctl unknown-spi`: the member is out of step, or someone sends forged ESP";
    ParkingTimeout, "parking_timeout", "waited for the SA with its SPI, which did not come in time",
        "see `getvpnctl sync`: the key server does not answer, or does not know the SPI";
    ParkingFull, "parking_full", "its SPI may become an SA, but no more packets may wait for it",
        "raise the limits of [parking], or find out with `getvpnctl sync` why SAs come late";
    SaDirection, "sa_direction", "the SA with this SPI is for outbound traffic only",
        "check `direction` of the SA on both members";
    ReplayStale, "replay_stale", "sequence number older than the replay window",
        "a replay, or reordering beyond replay_window; or the sender restarted with old keys";
    ReplayDuplicate, "replay_duplicate", "sequence number already received",
        "a replay or a loop in the network";
    ReplaySenders, "replay_senders", "no replay window left for a new sender ID",
        "raise replay_senders of the SA";
    Authentication, "authentication", "the integrity check value is wrong",
        "keys differ between the members, or the packet was changed or forged";
    EspTrailer, "esp_trailer", "authentic, but padding or next header is invalid for the SA's mode",
        "the sender's ESP is faulty or its mode differs";
    InnerPacket, "inner_packet", "authentic, but the packet inside is malformed",
        "the sending member let a malformed packet through";
    Selectors, "selectors", "authentic, but the packet inside does not match the SA's selectors",
        "selectors differ between the members; compare `getvpnctl sa show` on both";
    Ecn, "ecn", "congestion was signalled on a packet that is not ECN-capable (RFC 6040 section 4.2)",
        "a router marks Not-ECT packets; find it on the path";
    Dummy, "dummy", "a dummy packet for traffic-flow confidentiality (RFC 4303 section 2.6)",
        "normal where a sender pads its traffic";
    ReassemblyFailed, "reassembly_failed", "fragments that overlap, are too many or fit no datagram",
        "a faulty or hostile sender";
    ReassemblyTimeout, "reassembly_timeout", "fragments whose datagram was not complete in time, or evicted",
        "loss on the path; avoid fragments by a smaller mtu on the sending member's link";
    NoBuffers, "no_buffers", "the packet buffer pool was empty",
        "raise [workers] buffers";
    TxFull, "tx_full", "the egress port did not take the packet in time",
        "the egress port is slower than the ingress, or its link is down";
    ExceptionFull, "exception_full", "for this machine itself, but too many such frames wait for the exception port",
        "someone floods this machine's own address, or the control thread is held up";
    Shutdown, "shutdown", "still in flight when the member was stopped",
        "normal at a stop";
}

#[cfg(test)]
mod tests {
    use super::DropReason;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_in_snake_case() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for name in names {
            assert!(name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_')), "{name}");
        }
    }

    #[test]
    fn a_reason_is_its_own_index() {
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
        }
    }
}
