//! The SA payload of main mode: what an initiator offers, what a responder chooses of it, and whether that
//! was a choice (RFC 2409 sections 5 and appendix A).

use crate::crypto::{DhGroup, HashAlgorithm};
use crate::ike::{Cipher, IkeError, InitiatorConfig, Method, Suite};
use crate::wire::{
    Attributes, AuthMethod, Doi, IkeAttribute, IkeCipher, IkeGroup, IkeHash, LifeType, Proposal, ProtocolId,
    Sa, Spi, Transform,
};
use std::time::Duration;

/// SIT_IDENTITY_ONLY (RFC 2407 section 4.2.1), the situation of every offer under the IPsec DOI.
const SIT_IDENTITY_ONLY: u32 = 1;

/// The most transforms that one proposal has room for.
const MAX_TRANSFORMS: usize = 255;

/// How many of the peer's transforms an error names.
const MAX_NAMED: usize = 8;

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) suite: Suite,
    pub(super) method: Method,
    /// The life that the transform names, if it names one in seconds.
    pub(super) lifetime: Option<Duration>,
}

/// What the configuration offers.
pub(super) fn offer(config: &InitiatorConfig) -> Sa {
    let method = config.credentials.method();
    let transforms = (1..=u8::MAX)
        .zip(config.suites.iter().take(MAX_TRANSFORMS))
        .map(|(number, suite)| Transform {
            number,
            id: Transform::KEY_IKE,
            attributes: attributes(*suite, method, config.lifetime),
        })
        .collect();
    Sa {
        doi: config.doi,
        situation: if config.doi == Doi::Ipsec { SIT_IDENTITY_ONLY } else { 0 },
        proposals: vec![Proposal {
            number: 1,
            protocol: ProtocolId::Isakmp,
            spi: Spi::default(),
            transforms,
        }],
    }
}

/// What a responder takes, and the SA payload that says so: of the suites that it accepts, in its own order,
/// the first that is offered with a method that it can use. The DOI and the situation come back as they were
/// offered, and so does the transform.
pub(super) fn choose(
    offered: &Sa,
    suites: &[Suite],
    accept_ipsec_doi: bool,
    methods: &[Method],
) -> Result<(Sa, Chosen), IkeError> {
    match offered.doi {
        Doi::Gdoi => {}
        Doi::Ipsec if accept_ipsec_doi => {}
        other => return Err(IkeError::Doi(other.number())),
    }
    let of_isakmp = || offered.proposals.iter().filter(|proposal| proposal.protocol == ProtocolId::Isakmp);
    let understood: Vec<_> = of_isakmp()
        .flat_map(|proposal| proposal.transforms.iter().map(move |transform| (proposal, transform)))
        .filter_map(|(proposal, transform)| Some((proposal, transform, understand(transform)?)))
        .collect();
    for suite in suites {
        let found = understood
            .iter()
            .find(|(_, _, chosen)| chosen.suite == *suite && methods.contains(&chosen.method));
        if let Some((proposal, transform, chosen)) = found {
            let proposal = Proposal { transforms: vec![(*transform).clone()], ..(*proposal).clone() };
            return Ok((Sa { proposals: vec![proposal], ..*offered }, *chosen));
        }
    }
    // With another method it would have been a choice: that is worth another message.
    let other_method = understood.iter().find(|(_, _, chosen)| suites.contains(&chosen.suite));
    Err(match other_method {
        Some((_, _, chosen)) => IkeError::NoCredentials(chosen.method),
        None => IkeError::NoProposalChosen { offered: describe(offered) },
    })
}

/// What a responder's SA payload chose of our `offered`. It must be one of our transforms, unaltered.
pub(super) fn chosen(reply: &Sa, offered: &Sa) -> Result<Chosen, IkeError> {
    if reply.doi != offered.doi {
        return Err(IkeError::BadChoice("another domain of interpretation"));
    }
    // The situation is not compared: some responders answer 1 whatever was offered.
    let [proposal] = reply.proposals.as_slice() else {
        return Err(IkeError::BadChoice("more than one proposal"));
    };
    let [transform] = proposal.transforms.as_slice() else {
        return Err(IkeError::BadChoice("more than one transform"));
    };
    let same_proposal =
        |ours: &&Proposal| ours.number == proposal.number && ours.protocol == proposal.protocol;
    let Some(ours) = offered.proposals.iter().find(same_proposal) else {
        return Err(IkeError::BadChoice("another proposal"));
    };
    for candidate in &ours.transforms {
        if candidate.number == transform.number && same_attributes(candidate, transform) {
            return understand(candidate).ok_or(IkeError::BadChoice("a transform of another kind"));
        }
    }
    Err(IkeError::BadChoice("another transform"))
}

fn attributes(suite: Suite, method: Method, lifetime: Duration) -> Attributes<IkeAttribute> {
    let hash = match suite.hash {
        HashAlgorithm::Sha1 => IkeHash::Sha1,
        HashAlgorithm::Sha256 => IkeHash::Sha256,
        HashAlgorithm::Sha384 => IkeHash::Sha384,
        HashAlgorithm::Sha512 => IkeHash::Sha512,
    };
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    Attributes::new()
        .with(IkeAttribute::Encryption, IkeCipher::AesCbc)
        .with(IkeAttribute::KeyLength, suite.cipher.key_bits())
        .with(IkeAttribute::Hash, hash)
        .with(IkeAttribute::AuthMethod, method.on_wire())
        .with(IkeAttribute::Group, IkeGroup::from(suite.group.number()))
        .with(IkeAttribute::LifeType, LifeType::Seconds)
        .with_u32(IkeAttribute::LifeDuration, seconds)
}

/// What a transform means, if it is one that could be used here: every attribute known and there once, apart
/// from lives, of which there is one for each type.
fn understand(transform: &Transform) -> Option<Chosen> {
    let attributes = &transform.attributes;
    let once = |class| attributes.all(class).count() == 1;
    let known = attributes.iter().all(|attribute| match attribute.class {
        IkeAttribute::LifeType | IkeAttribute::LifeDuration => true,
        IkeAttribute::Encryption
        | IkeAttribute::KeyLength
        | IkeAttribute::Hash
        | IkeAttribute::AuthMethod
        | IkeAttribute::Group
        | IkeAttribute::GroupType => once(attribute.class),
        _ => false,
    });
    if transform.id != Transform::KEY_IKE || !known {
        return None;
    }
    if attributes.value::<IkeCipher>(IkeAttribute::Encryption)? != IkeCipher::AesCbc {
        return None;
    }
    let bits = attributes.number(IkeAttribute::KeyLength)?;
    let cipher = Cipher::ALL.into_iter().find(|cipher| u64::from(cipher.key_bits()) == bits)?;
    let hash = match attributes.value(IkeAttribute::Hash)? {
        IkeHash::Sha1 => HashAlgorithm::Sha1,
        IkeHash::Sha256 => HashAlgorithm::Sha256,
        IkeHash::Sha384 => HashAlgorithm::Sha384,
        IkeHash::Sha512 => HashAlgorithm::Sha512,
        _ => return None,
    };
    let group = DhGroup::from_number(u16::try_from(attributes.number(IkeAttribute::Group)?).ok()?)?;
    let method = match attributes.value(IkeAttribute::AuthMethod)? {
        AuthMethod::PreSharedKey => Method::PreSharedKey,
        AuthMethod::RsaSignature => Method::Rsa,
        AuthMethod::Ecdsa256 => Method::EcdsaP256,
        AuthMethod::Ecdsa384 => Method::EcdsaP384,
        _ => return None,
    };
    Some(Chosen { suite: Suite { cipher, hash, group }, method, lifetime: lifetime(attributes) })
}

/// The life in seconds. A duration belongs to the type before it (RFC 2409 appendix A); kilobytes are not
/// counted here, and zero would end before it began.
fn lifetime(attributes: &Attributes<IkeAttribute>) -> Option<Duration> {
    let mut seconds = false;
    for attribute in attributes.iter() {
        match attribute.class {
            IkeAttribute::LifeType => {
                seconds = attribute.value.number() == u64::from(LifeType::Seconds.number())
            }
            IkeAttribute::LifeDuration if seconds && attribute.value.number() > 0 => {
                return Some(Duration::from_secs(attribute.value.number().min(u64::from(u32::MAX))));
            }
            _ => {}
        }
    }
    None
}

/// A number may come back in the other form, basic or variable, and the attributes in another order.
fn same_attributes(ours: &Transform, theirs: &Transform) -> bool {
    let sorted = |transform: &Transform| {
        let mut all: Vec<_> = transform
            .attributes
            .iter()
            .map(|attribute| (attribute.class.number(), attribute.value.number()))
            .collect();
        all.sort_unstable();
        all
    };
    ours.id == theirs.id && sorted(ours) == sorted(theirs)
}

/// What is offered, in the words of a configuration where there are any.
fn describe(offered: &Sa) -> String {
    let transforms = || offered.proposals.iter().flat_map(|proposal| &proposal.transforms);
    let mut words: Vec<_> = transforms()
        .take(MAX_NAMED)
        .map(|transform| match understand(transform) {
            Some(chosen) => format!("{} with {}", chosen.suite, chosen.method),
            None => numbers(transform),
        })
        .collect();
    let more = transforms().count().saturating_sub(MAX_NAMED);
    if more > 0 {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

fn numbers(transform: &Transform) -> String {
    let number = |class| transform.attributes.number(class).unwrap_or(0);
    format!(
        "cipher {} of {} bits, hash {}, method {}, group {}",
        number(IkeAttribute::Encryption),
        number(IkeAttribute::KeyLength),
        number(IkeAttribute::Hash),
        number(IkeAttribute::AuthMethod),
        number(IkeAttribute::Group)
    )
}

#[cfg(test)]
mod tests;
