//! What a configuration says of how peers are spoken with: addresses, identities, suites. Read at a daemon's start; no I/O.

use crate::error::ConfigError;
use crate::reader::{Section, Value};
use getvpn_gdoi::ike::{Identity, Suite};
use getvpn_gdoi::wire::Compat;
use std::net::SocketAddr;

const FORMS: &str = "an address, a domain name, user@domain, a distinguished name such as \
                     \"CN=gm1,O=Example\", or key-id: and hex";

/// Who somebody is: `"192.0.2.1"`, `"ks1.example.net"`, `"ks1@example.net"`, `"CN=ks1,O=Example"` or
/// `"key-id:00ff"`.
///
/// # Errors
/// When the value is none of these.
pub fn identity(value: &Value<'_>) -> Result<Identity, ConfigError> {
    let text = value.string(FORMS)?;
    let identity: Identity =
        text.parse().map_err(|e| value.error(format!("{text:?} is no identity ({e}); write {FORMS}")))?;
    // What looks like a name may be an address with a slip in it, or with a port.
    let (user, domain) = match &identity {
        Identity::Fqdn(name) => ("user", name.as_str()),
        Identity::UserFqdn(name) => name.as_str().split_once('@').unwrap_or_default(),
        _ => return Ok(identity),
    };
    if user.is_empty() || !is_domain(domain) {
        return Err(value.error(format!("{text:?} is no identity; write {FORMS}")));
    }
    Ok(identity)
}

/// An address with its port; `what` says what it is.
///
/// # Errors
/// When the value is none.
pub fn socket_address(value: &Value<'_>, what: &str) -> Result<SocketAddr, ConfigError> {
    let text = value.string(what)?;
    text.parse().map_err(|_| {
        value.error(format!(
            "{text:?} is no address with a port; write \"192.0.2.1:848\" or \"[2001:db8::1]:848\""
        ))
    })
}

/// The suites of `phase1`, in order of preference; [`Suite::DEFAULT`] when the key is not there.
///
/// # Errors
/// When one is none or is named twice, or when there is none.
pub fn suites(section: &Section<'_>) -> Result<Vec<Suite>, ConfigError> {
    let Some(named) = section.get("phase1") else { return Ok(Suite::DEFAULT.to_vec()) };
    let mut suites = Vec::new();
    for value in named.items()? {
        let text = value.string("a phase 1 suite, such as \"aes256-sha256-ecp256\"")?;
        let suite: Suite = text.parse().map_err(|e| value.error(format!("{e}")))?;
        if suites.contains(&suite) {
            return Err(value.error(format!("{suite} is named twice; remove one")));
        }
        suites.push(suite);
    }
    if suites.is_empty() {
        let problem = "empty; name at least one suite, such as [\"aes256-sha256-ecp256\"], or remove the key";
        return Err(named.error(problem));
    }
    Ok(suites)
}

/// `compat`: how a group's messages look; as RFC 6407 says when the key is not there.
///
/// # Errors
/// When the value is neither `"reference"` nor `"none"`.
pub fn compat(section: &Section<'_>) -> Result<Compat, ConfigError> {
    section.get("compat").map_or(Ok(Compat::Standard), |value| {
        value.choice(&[("reference", Compat::Reference), ("none", Compat::Standard)])
    })
}

/// What to tell the operator of each suite of `phase1` that is too weak to be accepted unasked.
#[must_use]
pub fn weak_suites(section: &Section<'_>, suites: &[Suite]) -> Vec<String> {
    let named = section.get("phase1").and_then(|value| value.items().ok()).unwrap_or_default();
    let weak = named.iter().zip(suites).filter(|(_, suite)| suite.is_weak());
    weak.map(|(value, suite)| {
        value.error(format!("{suite} is weak; name it only for peers that have nothing better")).to_string()
    })
    .collect()
}

/// Labels of letters, digits, hyphens and underscores, the last of which is no number.
fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;
    use std::path::Path;

    fn identity(text: &str) -> Result<String, String> {
        let text = format!("id = {text:?}");
        let document = Document::parse(Path::new("a.toml"), &text).unwrap();
        let read = super::identity(&document.root().get("id").unwrap());
        read.map(|identity| identity.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_form_of_an_identity_is_read() {
        for text in [
            "192.0.2.1",
            "2001:db8::1",
            "ks1.example.net",
            "ks_1",
            "a@example.net",
            "key-id:00ff",
            "10.example",
        ] {
            assert_eq!(identity(text).as_deref(), Ok(text));
        }
        assert!(identity("CN=ks1, O=Example").unwrap().contains("CN=ks1"));
    }

    #[test]
    fn what_is_nearly_an_address_or_a_name_is_no_identity() {
        for text in [
            "192.0.2.300",
            "192.0.2.1:848",
            "192.0.2.0/24",
            "ks1..example",
            ".",
            "ks1 example",
            "k\u{f6}ln.example",
            "@example.net",
            "a@",
            "a@b@c",
            "a@192.0.2.1",
            "key-id:0",
            "key-id:",
            "=x",
        ] {
            let error = identity(text).expect_err(text);
            assert!(
                error.starts_with("a.toml:1:6: id: ") && error.contains("write an address, a domain name")
            );
        }
    }
    fn read<T>(text: &str, what: impl Fn(&Section<'_>) -> T) -> T {
        what(&Document::parse(Path::new("a.toml"), text).unwrap().root())
    }

    #[test]
    fn suites_keep_their_order_and_weak_ones_are_taken_when_named_but_told() {
        let text = "phase1 = [\"aes128-sha1-modp1024\", \"aes256-sha512-ecp384\"]";
        let named = read(text, suites).unwrap();
        assert_eq!(
            named.iter().map(Suite::to_string).collect::<Vec<_>>(),
            ["aes128-sha1-modp1024", "aes256-sha512-ecp384"]
        );
        let told = read(text, |section| weak_suites(section, &named));
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("a.toml:1:11: phase1: aes128-sha1-modp1024 is weak"), "{told:?}");
        let default = read("", suites).unwrap();
        assert_eq!(default, Suite::DEFAULT);
        assert!(!default.iter().any(|suite| suite.is_weak()));
    }

    #[test]
    fn what_is_no_list_of_suites_is_told_with_its_place() {
        for (text, said) in [
            ("phase1 = []", "1:10: phase1: empty; name at least one suite"),
            ("phase1 = \"aes128-sha256-ecp256\"", "1:10: phase1: expected an array"),
            ("phase1 = [\"aes128-md5-ecp256\"]", "1:11: phase1: `aes128-md5-ecp256` is not a phase 1 suite"),
            (
                "phase1 = [\"aes128-sha256-ecp256\", \"aes128-sha256-ecp256\"]",
                "1:35: phase1: aes128-sha256-ecp256 is named twice",
            ),
        ] {
            let error = read(text, suites).unwrap_err().to_string();
            assert!(error.starts_with(&format!("a.toml:{said}")), "{error}");
        }
    }

    #[test]
    fn messages_look_as_in_rfc_6407_unless_a_group_asks_for_the_reference_implementation() {
        assert_eq!(read("", compat).unwrap(), Compat::Standard);
        assert_eq!(read("compat = \"none\"", compat).unwrap(), Compat::Standard);
        assert_eq!(read("compat = \"reference\"", compat).unwrap(), Compat::Reference);
        assert!(
            read("compat = \"refrence\"", compat)
                .unwrap_err()
                .problem
                .contains("did you mean \"reference\"?")
        );
    }
}
