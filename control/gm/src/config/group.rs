//! Groups as they are written in a configuration: `[[group]]`. Control thread, at the start.

use super::sa::{self, ReadSa};
use super::{Credentials, GroupConfig, Registration};
use getvpn_config::{ConfigError, PreSharedKey, Section, Unique, files};
use getvpn_dataplane::{Enforce, WithoutSa};
use std::net::SocketAddr;
use std::path::Path;

const KEYS: [&str; 11] = [
    "name",
    "id",
    "without_sa",
    "enforce",
    "key_servers",
    "local_id",
    "psk_file",
    "certificate",
    "private_key",
    "trust_anchors",
    "sa",
];

const CREDENTIALS: [&str; 4] = ["psk_file", "certificate", "private_key", "trust_anchors"];

/// Reads every `[[group]]`.
pub(super) fn read_all(
    root: &Section<'_>,
    base: &Path,
    workers: usize,
) -> Result<Vec<GroupConfig>, ConfigError> {
    let mut groups = Vec::new();
    let mut names = Unique::default();
    let mut ids = Unique::default();
    let mut sas = BetweenSas::default();
    for section in root.tables("group")? {
        section.only(&KEYS)?;
        let name = section.need("name", "the group's name")?;
        let name_text = name.string("a name")?;
        names.claim(&name, name_text.to_owned(), &format!("a group {name_text:?}"))?;
        let id = section.get("id");
        let id = id.map(|value| {
            let id: u32 = value.integer(0..=u64::from(u32::MAX), "a group ID of four octets")?;
            ids.claim(&value, id, &format!("a group with ID {id}")).map(|()| id)
        });
        let without_sa = section.get("without_sa").map_or(Ok(WithoutSa::Drop), |value| {
            value.choice(&[("drop", WithoutSa::Drop), ("bypass", WithoutSa::Bypass)])
        })?;
        let enforce = section.get("enforce").map_or(Ok(Enforce::Both), |value| {
            value.choice(&[
                ("both", Enforce::Both),
                ("inbound-optional", Enforce::InboundOptional),
                ("receive-only", Enforce::ReceiveOnly),
            ])
        })?;
        let registration = registration(&section, base)?;
        let mut manual = Vec::new();
        for sa in section.tables("sa")? {
            let sa = sa::read(&sa, groups.len(), workers)?;
            sas.check(&sa, workers)?;
            manual.push(sa.sa);
        }
        if manual.is_empty() && registration.is_none() {
            return Err(section.error("no SAs and nowhere to get any; add [[group.sa]] or key_servers"));
        }
        groups.push(GroupConfig {
            name: name_text.to_owned(),
            id: id.transpose()?,
            without_sa,
            enforce,
            registration,
            sas: manual,
        });
    }
    Ok(groups)
}

fn registration(section: &Section<'_>, base: &Path) -> Result<Option<Registration>, ConfigError> {
    let Some(servers) = section.get("key_servers") else {
        for key in CREDENTIALS.iter().chain(&["local_id"]) {
            if let Some(value) = section.get(key) {
                return Err(value.error("has no effect without key_servers; add them or remove it"));
            }
        }
        return Ok(None);
    };
    let mut key_servers = Vec::new();
    for value in servers.items()? {
        let text = value.string("an address with its port, such as \"192.0.2.1:848\"")?;
        let server: SocketAddr = text.parse().map_err(|_| {
            value.error(format!(
                "{text:?} is no address with a port; write \"192.0.2.1:848\" or \"[2001:db8::1]:848\""
            ))
        })?;
        if key_servers.contains(&server) {
            return Err(value.error(format!("{server} is named twice; remove one")));
        }
        key_servers.push(server);
    }
    if key_servers.is_empty() {
        return Err(servers.error("empty; name at least one, such as [\"192.0.2.1:848\"], or remove the key"));
    }
    let local_id = section.get("local_id").map(|value| value.string("an identity")).transpose()?;
    Ok(Some(Registration {
        key_servers,
        local_id: local_id.map(str::to_owned),
        credentials: credentials(section, base)?,
    }))
}

fn credentials(section: &Section<'_>, base: &Path) -> Result<Credentials, ConfigError> {
    let [psk, certificate, private_key, anchors] = CREDENTIALS.map(|key| section.get(key));
    if let Some(psk) = psk {
        if let Some(other) = certificate.or(private_key).or(anchors) {
            return Err(other.error("psk_file is given too; use a pre-shared key or a certificate, not both"));
        }
        return Ok(Credentials::PreShared(PreSharedKey::read(&psk, base)?));
    }
    let Some(certificate) = certificate else {
        if let Some(other) = private_key.or(anchors) {
            return Err(other.error("has no effect without certificate; add that or remove it"));
        }
        return Err(section.missing("psk_file", "psk_file, or certificate, private_key and trust_anchors"));
    };
    let certificate = files::readable(&certificate, base)?;
    let private_key = section.need("private_key", "the file of the certificate's private key")?;
    let private_key = files::secret(&private_key, base)?;
    let anchors = section.need("trust_anchors", "the file, or an array of files, of the CAs to trust")?;
    let anchors = if anchors.is_array() { anchors.items()? } else { vec![anchors] };
    let trust_anchors = anchors.iter().map(|value| files::readable(value, base)).collect::<Result<_, _>>()?;
    Ok(Credentials::Certificate { certificate, private_key, trust_anchors })
}

/// What must hold between the SAs of all groups.
#[derive(Default)]
struct BetweenSas {
    spis: Unique<u32>,
    /// What seals: key, first sender ID, line.
    sealing: Vec<(zeroize::Zeroizing<Vec<u8>>, u32, usize)>,
}

impl BetweenSas {
    fn check(&mut self, read: &ReadSa<'_>, workers: usize) -> Result<(), ConfigError> {
        let params = &read.sa.params;
        self.spis.claim(&read.spi, params.spi, &format!("an SA with SPI {:#010x}", params.spi))?;
        let Some(key) = read.key.as_ref().filter(|_| params.direction.sends() && !params.key.is_empty())
        else {
            return Ok(());
        };
        for (other, sid, line) in &self.sealing {
            let overlap = usize::try_from(sid.abs_diff(params.sid)).is_ok_and(|apart| apart < workers);
            if *other == params.key && overlap {
                return Err(read.sid.as_ref().unwrap_or(key).error(format!(
                    "the SA in line {line} seals with the same key and sender ID, so an IV would be used twice; \
                     use another key, or a sid at least {workers} away"
                )));
            }
        }
        self.sealing.push((params.key.clone(), params.sid, read.spi.line()));
        Ok(())
    }
}
