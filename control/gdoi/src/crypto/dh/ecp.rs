//! Groups 19 and 20: public values are x and y without the octet that SEC 1 puts in front, the shared
//! secret is x alone (RFC 5903 sections 6 and 7).

use super::super::{Random, Secret};
use p256::elliptic_curve::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, Sec1Point, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, PublicKey, SecretKey};
use zeroize::Zeroizing;

/// Draws until the octets are a number from 1 to the order less 1. The chance that they are not is 2^-32 for
/// P-256 and 2^-190 for P-384.
///
/// # Panics
/// If `random` gives no usable number in 64 draws: it is broken.
pub(super) fn generate<C: CurveArithmetic>(random: &mut dyn Random) -> SecretKey<C> {
    let mut octets = Zeroizing::new(FieldBytes::<C>::default());
    for _ in 0..64 {
        random.fill(&mut octets);
        if let Ok(key) = SecretKey::from_bytes(&octets) {
            return key;
        }
    }
    panic!("the source of random octets repeats itself");
}

pub(super) fn public_octets<C>(key: &SecretKey<C>) -> Vec<u8>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let point = key.public_key().to_sec1_point(false);
    point.as_bytes().get(1..).map(<[u8]>::to_vec).unwrap_or_default()
}

/// `None` if `peer` is not a point on the curve. Both curves have prime order, so any point on one of them
/// will do.
pub(super) fn agree<C>(key: &SecretKey<C>, peer: &[u8]) -> Option<Secret>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let (x, y) = peer.split_at_checked(peer.len() / 2)?;
    let point = Sec1Point::<C>::from_affine_coordinates(x.try_into().ok()?, y.try_into().ok()?, false);
    let peer = Option::<PublicKey<C>>::from(PublicKey::from_sec1_point(&point))?;
    Some(Secret::from(
        diffie_hellman(key.to_nonzero_scalar(), peer.as_affine()).raw_secret_bytes().as_slice(),
    ))
}
