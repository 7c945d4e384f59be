//! The MODP groups: exponentiation modulo a safe prime, in Montgomery form and in constant time. Public
//! values and secrets have the modulus's length.

use super::super::{Random, Secret};
use super::{DhGroup, primes};
use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U320, U1024, U1536, U2048, U3072, U4096, Uint};
use std::sync::LazyLock;
use zeroize::{Zeroize, Zeroizing};

/// A private exponent. Wiped when dropped.
pub(super) struct Exponent(Zeroizing<U320>);

impl Exponent {
    /// A random exponent as long as the group's strength asks for.
    pub(super) fn generate(group: DhGroup, random: &mut dyn Random) -> Self {
        let mut octets = Zeroizing::new([0; U320::BYTES]);
        let zeros = octets.len() - exponent_bits(group) as usize / 8;
        random.fill(&mut octets[zeros..]);
        Self(Zeroizing::new(U320::from_be_slice(octets.as_slice())))
    }
}

/// At least twice the strength that RFC 3526 section 8 estimates for the group (its first column), and never
/// less than 256: the work of finding an exponent is the square root of their number.
const fn exponent_bits(group: DhGroup) -> u32 {
    match group {
        DhGroup::Modp3072 | DhGroup::Modp4096 => 320,
        _ => 256,
    }
}

pub(super) fn public(group: DhGroup, exponent: &Exponent) -> Vec<u8> {
    let bits = exponent_bits(group);
    match group {
        DhGroup::Modp1024 => MODP_1024.public(exponent, bits),
        DhGroup::Modp1536 => MODP_1536.public(exponent, bits),
        DhGroup::Modp2048 => MODP_2048.public(exponent, bits),
        DhGroup::Modp3072 => MODP_3072.public(exponent, bits),
        DhGroup::Modp4096 => MODP_4096.public(exponent, bits),
        DhGroup::Ecp256 | DhGroup::Ecp384 => Vec::new(),
    }
}

/// `None` if `peer` is not from 2 to p - 2, or has not the modulus's length. Every other value has an order
/// of q or 2q, where q = (p - 1) / 2 is prime: no small subgroup is left.
pub(super) fn agree(group: DhGroup, exponent: &Exponent, peer: &[u8]) -> Option<Secret> {
    let bits = exponent_bits(group);
    match group {
        DhGroup::Modp1024 => MODP_1024.agree(exponent, bits, peer),
        DhGroup::Modp1536 => MODP_1536.agree(exponent, bits, peer),
        DhGroup::Modp2048 => MODP_2048.agree(exponent, bits, peer),
        DhGroup::Modp3072 => MODP_3072.agree(exponent, bits, peer),
        DhGroup::Modp4096 => MODP_4096.agree(exponent, bits, peer),
        DhGroup::Ecp256 | DhGroup::Ecp384 => None,
    }
}

static MODP_1024: LazyLock<Modp<{ U1024::LIMBS }>> = LazyLock::new(|| Modp::new(primes::PRIME_1024));
static MODP_1536: LazyLock<Modp<{ U1536::LIMBS }>> = LazyLock::new(|| Modp::new(primes::PRIME_1536));
static MODP_2048: LazyLock<Modp<{ U2048::LIMBS }>> = LazyLock::new(|| Modp::new(primes::PRIME_2048));
static MODP_3072: LazyLock<Modp<{ U3072::LIMBS }>> = LazyLock::new(|| Modp::new(primes::PRIME_3072));
static MODP_4096: LazyLock<Modp<{ U4096::LIMBS }>> = LazyLock::new(|| Modp::new(primes::PRIME_4096));

/// One group, with what Montgomery's method computes once for a modulus.
struct Modp<const LIMBS: usize> {
    params: FixedMontyParams<LIMBS>,
    /// p - 1.
    minus_one: Uint<LIMBS>,
    /// The generator, 2.
    generator: FixedMontyForm<LIMBS>,
}

impl<const LIMBS: usize> Modp<LIMBS> {
    fn new(prime: &str) -> Self {
        let prime = Odd::new(Uint::from_be_hex(prime)).expect("the primes are odd");
        let params = FixedMontyParams::new_vartime(prime);
        Self {
            params,
            minus_one: prime.as_ref().wrapping_sub(&Uint::ONE),
            generator: FixedMontyForm::new(&Uint::from_u8(2), &params),
        }
    }

    fn public(&self, exponent: &Exponent, bits: u32) -> Vec<u8> {
        octets(&self.generator.pow_bounded_exp(&exponent.0, bits).retrieve())
    }

    fn agree(&self, exponent: &Exponent, bits: u32, peer: &[u8]) -> Option<Secret> {
        if peer.len() != Uint::<LIMBS>::BYTES {
            return None;
        }
        let peer = Uint::from_be_slice(peer);
        if peer <= Uint::ONE || peer >= self.minus_one {
            return None;
        }
        let mut power = FixedMontyForm::new(&peer, &self.params).pow_bounded_exp(&exponent.0, bits);
        let mut shared = power.retrieve();
        power.as_montgomery_mut().zeroize();
        let secret = Secret::new(octets(&shared));
        shared.zeroize();
        Some(secret)
    }
}

fn octets<const LIMBS: usize>(number: &Uint<LIMBS>) -> Vec<u8> {
    number.as_words().iter().rev().flat_map(|word| word.to_be_bytes()).collect()
}
