//! What stands in an ISAKMP datagram: the header and every payload of IKEv1 and GDOI, read and written.
//! Pure functions of octets: no state, no keys, no clock.
