//! The 5-tuple classifier: DPDK's ACL library, for IPv4 and IPv6. Control threads build a rule set
//! once; workers only look keys up in it, a burst at a time, without locks.

mod context;

pub use context::AclError;

use context::{Context, Field, RawRule, bits, mask, range};

/// What classifies an IPv4 packet: octets as they are on the wire (network order), zeros for ports that
/// a protocol has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Key4 {
    /// The upper-layer protocol.
    pub protocol: u8,
    /// Must be zero.
    pub pad: [u8; 3],
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
    /// Source port.
    pub src_port: [u8; 2],
    /// Destination port.
    pub dst_port: [u8; 2],
}

/// What classifies an IPv6 packet, as [`Key4`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Key6 {
    /// The upper-layer protocol.
    pub protocol: u8,
    /// Must be zero.
    pub pad: [u8; 3],
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
    /// Source port.
    pub src_port: [u8; 2],
    /// Destination port.
    pub dst_port: [u8; 2],
}

/// A rule over IPv4 5-tuples: all its parts must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule4 {
    /// The upper-layer protocol, `None` for any.
    pub protocol: Option<u8>,
    /// Source address and prefix length; bits behind the prefix do not matter.
    pub src: ([u8; 4], u8),
    /// Destination address and prefix length.
    pub dst: ([u8; 4], u8),
    /// Least and greatest source port.
    pub src_port: (u16, u16),
    /// Least and greatest destination port.
    pub dst_port: (u16, u16),
}

/// A rule over IPv6 5-tuples, as [`Rule4`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule6 {
    /// The upper-layer protocol, `None` for any.
    pub protocol: Option<u8>,
    /// Source address and prefix length; bits behind the prefix do not matter.
    pub src: ([u8; 16], u8),
    /// Destination address and prefix length.
    pub dst: ([u8; 16], u8),
    /// Least and greatest source port.
    pub src_port: (u16, u16),
    /// Least and greatest destination port.
    pub dst_port: (u16, u16),
}

/// An ordered set of IPv4 rules, of which the first that matches decides.
#[derive(Debug)]
pub struct Acl4(Option<Context<FIELDS4>>);

/// An ordered set of IPv6 rules, of which the first that matches decides.
#[derive(Debug)]
pub struct Acl6(Option<Context<FIELDS6>>);

impl Acl4 {
    /// Compiles the rules; none at all is a set that nothing matches.
    ///
    /// # Errors
    /// See [`AclError`].
    pub fn build(rules: &[Rule4]) -> Result<Acl4, AclError> {
        if rules.is_empty() {
            return Ok(Acl4(None));
        }
        let compiled = rules.iter().enumerate().map(|(index, rule)| {
            let ([src], [dst]) = (words(rule.src, index)?, words(rule.dst, index)?);
            let (src_port, dst_port) = (range(rule.src_port, index)?, range(rule.dst_port, index)?);
            RawRule::new(index, [bits(rule.protocol), src, dst, src_port, dst_port])
        });
        Context::build(compiled.collect::<Result<_, _>>()?, &LAYOUT4).map(|context| Acl4(Some(context)))
    }

    /// For each key, in `out` at the same index: 0 when no rule matches, otherwise the index of the first
    /// that does plus 1. As many as the shorter of both slices has.
    #[inline]
    pub fn classify(&self, keys: &[Key4], out: &mut [u32]) {
        match &self.0 {
            // SAFETY: LAYOUT4 describes Key4.
            Some(context) => unsafe { context.classify(keys, out) },
            None => out.iter_mut().take(keys.len()).for_each(|result| *result = 0),
        }
    }
}

impl Acl6 {
    /// Compiles the rules; none at all is a set that nothing matches.
    ///
    /// # Errors
    /// See [`AclError`].
    pub fn build(rules: &[Rule6]) -> Result<Acl6, AclError> {
        if rules.is_empty() {
            return Ok(Acl6(None));
        }
        let compiled = rules.iter().enumerate().map(|(index, rule)| {
            let [s0, s1, s2, s3] = words(rule.src, index)?;
            let [d0, d1, d2, d3] = words(rule.dst, index)?;
            let (src_port, dst_port) = (range(rule.src_port, index)?, range(rule.dst_port, index)?);
            RawRule::new(index, [bits(rule.protocol), s0, s1, s2, s3, d0, d1, d2, d3, src_port, dst_port])
        });
        Context::build(compiled.collect::<Result<_, _>>()?, &LAYOUT6).map(|context| Acl6(Some(context)))
    }

    /// As [`Acl4::classify`].
    #[inline]
    pub fn classify(&self, keys: &[Key6], out: &mut [u32]) {
        match &self.0 {
            // SAFETY: LAYOUT6 describes Key6.
            Some(context) => unsafe { context.classify(keys, out) },
            None => out.iter_mut().take(keys.len()).for_each(|result| *result = 0),
        }
    }
}

const FIELDS4: usize = 5;
const FIELDS6: usize = 11;

/// Where the fields of [`Key4`] lie. The library reads the first as one octet, then groups of four.
const LAYOUT4: [Field; FIELDS4] =
    [Field::bits(0, 1, 0), Field::mask(4, 1), Field::mask(8, 2), Field::range(12, 3), Field::range(14, 3)];

/// Where the fields of [`Key6`] lie.
const LAYOUT6: [Field; FIELDS6] = [
    Field::bits(0, 1, 0),
    Field::mask(4, 1),
    Field::mask(8, 2),
    Field::mask(12, 3),
    Field::mask(16, 4),
    Field::mask(20, 5),
    Field::mask(24, 6),
    Field::mask(28, 7),
    Field::mask(32, 8),
    Field::range(36, 9),
    Field::range(38, 9),
];

const _: () = assert!(size_of::<Key4>() == 16 && size_of::<Key6>() == 40);

/// A prefix as the library's fields of four octets.
fn words<const OCTETS: usize, const WORDS: usize>(
    (address, length): ([u8; OCTETS], u8),
    rule: usize,
) -> Result<[dpdk_sys::rte_acl_field; WORDS], AclError> {
    if usize::from(length) > OCTETS * 8 {
        return Err(AclError::Prefix { rule, length });
    }
    let (octets, _) = address.as_chunks::<4>();
    let mut rest = length;
    let mut fields = [dpdk_sys::rte_acl_field::default(); WORDS];
    for (field, octets) in fields.iter_mut().zip(octets) {
        let now = rest.min(32);
        rest -= now;
        *field = mask(u32::from_be_bytes(*octets), now);
    }
    Ok(fields)
}
