//! Groups as they are written in a configuration: `[[group]]`. Control thread, at the start.

use super::sa::{self, ReadSa};
use super::{GroupConfig, registration};
use getvpn_config::{ConfigError, Place, Section, Unique};
use getvpn_dataplane::{Enforce, WithoutSa};
use std::net::SocketAddr;
use std::path::Path;

const KEYS: [&str; 6] = ["name", "id", "without_sa", "enforce", "key_servers", "sa"];

/// Reads every `[[group]]`.
pub(super) fn read_all(
    root: &Section<'_>,
    base: &Path,
    workers: usize,
    listen: SocketAddr,
    warnings: &mut Vec<String>,
) -> Result<Vec<GroupConfig>, ConfigError> {
    let mut groups = Vec::new();
    let mut names = Unique::default();
    let mut ids = Unique::default();
    let mut sas = BetweenSas::default();
    for section in root.tables("group")? {
        section.only(&[&KEYS[..], &registration::KEYS].concat())?;
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
        let registration = registration::read(&section, base, workers, listen, warnings)?;
        if registration.is_some() && id.is_none() {
            return Err(section.missing("id", "the group's number, by which its key servers know it"));
        }
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

/// What must hold between the SAs of all groups.
#[derive(Default)]
struct BetweenSas {
    spis: Unique<u32>,
    /// What seals: key, first sender ID, line.
    sealing: Vec<(zeroize::Zeroizing<Vec<u8>>, u32, Place)>,
}

impl BetweenSas {
    fn check(&mut self, read: &ReadSa<'_>, workers: usize) -> Result<(), ConfigError> {
        let params = &read.sa.params;
        self.spis.claim(&read.spi, params.spi, &format!("an SA with SPI {:#010x}", params.spi))?;
        let Some(key) = read.key.as_ref().filter(|_| params.direction.sends() && !params.key.is_empty())
        else {
            return Ok(());
        };
        for (other, sid, place) in &self.sealing {
            let overlap = usize::try_from(sid.abs_diff(params.sid)).is_ok_and(|apart| apart < workers);
            if *other == params.key && overlap {
                let line = read.spi.line_of(*place);
                return Err(read.sid.as_ref().unwrap_or(key).error(format!(
                    "the SA in line {line} seals with the same key and sender ID, so an IV would be used twice; \
                     use another key, or a sid at least {workers} away"
                )));
            }
        }
        self.sealing.push((params.key.clone(), params.sid, read.spi.place()));
        Ok(())
    }
}
