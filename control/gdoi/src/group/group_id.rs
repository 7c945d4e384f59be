//! A group's number on the wire: an ID payload of type ID_KEY_ID with four octets (RFC 6407 section 5.1).

use super::GroupId;
use crate::wire::{Compat, IdType, Identification};

impl GroupId {
    /// The ID payload that names the group. The reference implementation has the number in the order of its
    /// own machine, which is little-endian.
    #[must_use]
    pub fn to_identification(self, compat: Compat) -> Identification {
        Identification::new(IdType::KeyId, NamedGroup::octets(self, compat))
    }
}

/// A group as a member names it. Which group that is depends on the order in which the member has the four
/// octets, and only the key server's configuration says which members have which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamedGroup([u8; 4]);

impl NamedGroup {
    /// The group, if the member's layout is `compat`.
    #[must_use]
    pub fn id(self, compat: Compat) -> GroupId {
        GroupId(match compat {
            Compat::Standard => u32::from_be_bytes(self.0),
            Compat::Reference => u32::from_le_bytes(self.0),
        })
    }

    /// The group that an ID payload names, if it names one.
    #[must_use]
    pub fn from_identification(id: &Identification) -> Option<Self> {
        let octets = <[u8; 4]>::try_from(id.data.as_slice()).ok()?;
        (id.id_type == IdType::KeyId).then_some(Self(octets))
    }

    fn octets(id: GroupId, compat: Compat) -> [u8; 4] {
        match compat {
            Compat::Standard => id.0.to_be_bytes(),
            Compat::Reference => id.0.to_le_bytes(),
        }
    }
}
