//! Explicit congestion notification across a tunnel (RFC 6040), in its two bits (RFC 3168 section 5).
//! Used by the workers; holds no state.

use crate::DropReason;

/// Not ECN-capable.
pub const NOT_ECT: u8 = 0b00;
/// ECN-capable, codepoint 1.
pub const ECT_1: u8 = 0b01;
/// ECN-capable, codepoint 0.
pub const ECT_0: u8 = 0b10;
/// Congestion experienced.
pub const CE: u8 = 0b11;

/// The ECN field that the packet leaves the tunnel with (RFC 6040 section 4.2, figure 4). At the
/// ingress the outer field is a copy of the inner one (section 4.1, normal mode). Only the two low
/// bits of the arguments count.
///
/// # Errors
/// [`DropReason::Ecn`] if congestion was signalled on a packet that is not ECN-capable: the drop is
/// then the signal.
#[inline]
pub fn decapsulate(outer: u8, inner: u8) -> Result<u8, DropReason> {
    match (inner & 3, outer & 3) {
        (NOT_ECT, CE) => Err(DropReason::Ecn),
        (NOT_ECT, _) => Ok(NOT_ECT),
        (_, CE) | (CE, _) => Ok(CE),
        (_, ECT_1) => Ok(ECT_1),
        (inner, _) => Ok(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_that_of_rfc_6040_figure_4() {
        // Rows by the inner field, columns by the outer one, in the order of the figure.
        let columns = [NOT_ECT, ECT_0, ECT_1, CE];
        let figure = [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
        ];
        for (inner, row) in figure {
            for (outer, expected) in columns.into_iter().zip(row) {
                assert_eq!(decapsulate(outer, inner), expected.ok_or(DropReason::Ecn), "{outer} {inner}");
                assert_eq!(decapsulate(outer | 0xb8, inner | 0x48), expected.ok_or(DropReason::Ecn));
            }
        }
    }
}
