//! Data attributes (RFC 2408 section 3.3), in the order in which they came.

use super::codec::{Reader, Reason, WireError, Writer};

/// The most attributes read in one list. The longest that any RFC describes has sixteen.
const MAX_ATTRIBUTES: usize = 64;

/// The AF bit: set in a basic attribute (TV), clear in a variable one (TLV).
const AF: u16 = 0x8000;

/// A list of attributes of class `C`. The octets of variable ones are `V`:
/// [`Secret`](crate::crypto::Secret) where they are keys.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-----------------------------+-------------------------------+
/// !A!       Attribute Type        !    AF=0  Attribute Length     !
/// !F!                             !    AF=1  Attribute Value      !
/// +-+-----------------------------+-------------------------------+
/// ~               AF=0  Attribute Value,  AF=1  not there         ~
/// +---------------------------------------------------------------+
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes<C, V = Vec<u8>>(pub Vec<Attribute<C, V>>);

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<C, V = Vec<u8>> {
    /// Its class, the attribute type: fifteen bits.
    pub class: C,
    /// Its value.
    pub value: AttributeValue<V>,
}

/// An attribute's value, which keeps the form that it was sent in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue<V = Vec<u8>> {
    /// Two octets: type and value (TV).
    Basic(u16),
    /// Any number of octets: type, length and value (TLV).
    Variable(V),
}

impl<V: AsRef<[u8]>> AttributeValue<V> {
    /// The value as a number. Peers send the same attribute in either form, so either form will do; a
    /// variable one is big-endian, and one that is too large is `u64::MAX`.
    #[must_use]
    pub fn number(&self) -> u64 {
        match self {
            Self::Basic(value) => u64::from(*value),
            Self::Variable(octets) => octets.as_ref().iter().fold(0, |number: u64, &octet| {
                number.checked_mul(256).map_or(u64::MAX, |shifted| shifted | u64::from(octet))
            }),
        }
    }
}

impl<C, V> Default for Attributes<C, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C, V> Attributes<C, V>
where
    C: Copy + PartialEq + From<u16> + Into<u16>,
    V: AsRef<[u8]> + for<'a> From<&'a [u8]>,
{
    /// No attribute yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a basic attribute.
    #[must_use]
    pub fn with(mut self, class: C, value: impl Into<u16>) -> Self {
        self.0.push(Attribute { class, value: AttributeValue::Basic(value.into()) });
        self
    }

    /// Adds a variable attribute of four octets, such as a life duration.
    #[must_use]
    pub fn with_u32(self, class: C, value: u32) -> Self {
        self.with_octets(class, value.to_be_bytes().as_slice())
    }

    /// Adds a variable attribute.
    #[must_use]
    pub fn with_octets(mut self, class: C, value: impl Into<V>) -> Self {
        self.0.push(Attribute { class, value: AttributeValue::Variable(value.into()) });
        self
    }

    /// The attributes in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Attribute<C, V>> {
        self.0.iter()
    }

    /// The first attribute of a class.
    #[must_use]
    pub fn get(&self, class: C) -> Option<&AttributeValue<V>> {
        self.all(class).next()
    }

    /// Every attribute of a class, such as the SID values of a key packet.
    pub fn all(&self, class: C) -> impl Iterator<Item = &AttributeValue<V>> {
        self.0.iter().filter(move |attribute| attribute.class == class).map(|attribute| &attribute.value)
    }

    /// The first attribute of a class as a number ([`AttributeValue::number`]).
    #[must_use]
    pub fn number(&self, class: C) -> Option<u64> {
        self.get(class).map(AttributeValue::number)
    }

    /// The first attribute of a class as one of the registry's values. A number that does not fit two
    /// octets is 65,535, which no registry gives out.
    #[must_use]
    pub fn value<T: From<u16>>(&self, class: C) -> Option<T> {
        self.number(class).map(|number| T::from(u16::try_from(number).unwrap_or(u16::MAX)))
    }

    /// The octets of the first attribute of a class, if that is a variable one.
    #[must_use]
    pub fn octets(&self, class: C) -> Option<&[u8]> {
        match self.get(class)? {
            AttributeValue::Basic(_) => None,
            AttributeValue::Variable(octets) => Some(octets.as_ref()),
        }
    }

    /// Reads attributes until nothing is left.
    ///
    /// # Errors
    /// One is cut short, or there are more than 64.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(reader.error(Reason::TooMany(MAX_ATTRIBUTES)));
            }
            let kind = reader.u16()?;
            let number = reader.u16()?;
            let value = if kind & AF == 0 {
                AttributeValue::Variable(reader.take(number.into())?.into())
            } else {
                AttributeValue::Basic(number)
            };
            attributes.push(Attribute { class: C::from(kind & !AF), value });
        }
        Ok(Self(attributes))
    }

    /// Writes the attributes.
    pub fn write(&self, writer: &mut Writer) {
        for Attribute { class, value } in &self.0 {
            let class: u16 = (*class).into();
            if class & AF != 0 {
                writer.fail("Attribute Type", Reason::TooLong(class.into()));
            }
            match value {
                AttributeValue::Basic(value) => {
                    writer.u16(AF | class);
                    writer.u16(*value);
                }
                AttributeValue::Variable(octets) => {
                    writer.u16(class);
                    writer.count_u16(octets.as_ref().len(), "Attribute Length");
                    writer.put(octets.as_ref());
                }
            }
        }
    }
}
