//! The numbers that the registries of ISAKMP, IKEv1, the IPsec DOI and GDOI give out, as enums that keep
//! a number they do not know.

mod gdoi;
mod ike;
mod ipsec;
mod isakmp;

pub use gdoi::{
    AckRequest, GapAttribute, GdoiProtocol, KdType, KekAlgorithm, KekAttribute, KekKeyAttribute,
    KekManagement, LkhKeyAttribute, SidAttribute, SigAlgorithm, SigHash, TekKeyAttribute,
};
pub use ike::{AuthMethod, IkeAttribute, IkeCipher, IkeGroup, IkeHash};
pub use ipsec::{
    AddressPreservation, AhTransform, AuthAlgorithm, EncapsulationMode, EspTransform, IdType, IpsecAttribute,
    LifeType, ProtocolId, SaDirection,
};
pub use isakmp::{CertEncoding, Doi, ExchangeType, NotifyType, PayloadType};

/// Declares an enum of wire numbers: each variant with its number and its name in the registry. A number
/// that is not named survives as `Unknown`. Two values are equal when their numbers are.
macro_rules! open_enum {
    ($(#[$meta:meta])* $name:ident: $repr:ty { $($variant:ident = $number:literal $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`, ", stringify!($number), ".")] $variant,)+
            /// A number that this code has no name for.
            Unknown($repr),
        }

        impl $name {
            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> $repr {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Unknown(number) => number,
                }
            }

            /// The name in the registry, if this code knows the number.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($text),)+
                    Self::Unknown(_) => None,
                }
            }
        }

        impl From<$repr> for $name {
            fn from(number: $repr) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }

        impl From<$name> for $repr {
            fn from(value: $name) -> Self {
                value.number()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.number() == other.number()
            }
        }

        impl Eq for $name {}

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.number().hash(state);
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{name} ({})", self.number()),
                    None => write!(f, "number {}", self.number()),
                }
            }
        }
    };
}
use open_enum;
