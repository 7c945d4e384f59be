//! What a changed gm.toml changes of the running member, and what of it has to wait for the next start. Control thread;
//! only compares: what is found is done by the member's owner.

use crate::config::{Config, GroupConfig, ManualSa, Registration};
use crate::reserve::Fingerprint;
use getvpn_dataplane::{Enforce, LocalRule, Selector, WithoutSa};
use std::collections::BTreeMap;

/// What is remembered of the configuration that is in force, without its keys.
#[derive(Debug)]
pub struct InForce {
    /// All but its groups.
    config: Config,
    groups: Vec<Shape>,
}

/// The groups of a configuration, without their keys.
#[derive(Debug)]
pub struct Shapes(Vec<Shape>);

impl Shapes {
    /// Of these groups.
    #[must_use]
    pub fn of(groups: &[GroupConfig]) -> Self {
        Self(groups.iter().map(Shape::of).collect())
    }
}

/// A group, as far as a reload may change it.
#[derive(Debug)]
struct Shape {
    name: String,
    id: Option<u32>,
    without_sa: WithoutSa,
    enforce: Enforce,
    registration: Option<Registration>,
    /// Manual SAs, by SPI, as what tells one from another.
    sas: BTreeMap<u32, Fingerprint>,
}

/// What is to be done for a group.
#[derive(Debug)]
pub struct GroupPlan {
    /// Its place.
    pub index: usize,
    /// How it treats its packets, if that changes.
    pub treatment: Option<(WithoutSa, Enforce)>,
    /// How it registers, if that changes.
    pub registration: Option<Registration>,
    /// Manual SAs to take out.
    pub remove: Vec<u32>,
    /// Manual SAs to put in.
    pub add: Vec<ManualSa>,
    /// All that its manual SAs are for then.
    pub selectors: Vec<Selector>,
}

/// What a reload would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The rules that stand before the groups, if they change.
    pub local: Option<Vec<LocalRule>>,
    /// The groups of which something changes.
    pub groups: Vec<GroupPlan>,
    /// The same in words.
    pub changes: Vec<String>,
    /// What takes effect only at the next start.
    pub needs_restart: Vec<String>,
    /// What is weak or without effect in the new configuration.
    pub warnings: Vec<String>,
    in_force: Option<InForce>,
}

impl InForce {
    /// The configuration that the member starts with; its groups are passed by themselves.
    #[must_use]
    pub fn new(config: Config, groups: Shapes) -> Self {
        Self { config, groups: groups.0 }
    }

    /// What differs in `new`. `may_seal`: whether manual SAs that seal can be added now.
    #[must_use]
    pub fn plan(&self, mut new: Config, may_seal: bool) -> Plan {
        let mut plan = Plan { warnings: new.warnings.clone(), ..Plan::default() };
        let old = &self.config;
        for (what, same) in [
            ("[eal]", old.eal_args == new.eal_args),
            ("[workers]", old.workers == new.workers),
            ("[parking]", old.parking == new.parking),
            ("[[link]]", old.links == new.links),
            ("[control]", old.control == new.control),
            ("[metrics]", old.metrics == new.metrics),
        ] {
            if !same {
                plan.needs_restart.push(format!("{what} has changed"));
            }
        }
        if old.local != new.local {
            plan.changes.push(format!(
                "[[policy]]: {} rules instead of {}",
                new.local.len(),
                old.local.len()
            ));
            plan.local = Some(new.local.clone());
        }
        let groups = std::mem::take(&mut new.groups);
        let mut shapes: Vec<Shape> = groups.iter().map(Shape::of).collect();
        let names = |groups: &[Shape]| groups.iter().map(|g| (g.name.clone(), g.id)).collect::<Vec<_>>();
        if names(&self.groups) != names(&shapes) {
            plan.needs_restart
                .push("groups were added, removed, moved or renamed; no group is changed".into());
            shapes = Vec::new();
        } else {
            for (index, (group, before)) in groups.into_iter().zip(&self.groups).enumerate() {
                plan.group(index, group, before, &mut shapes[index], may_seal);
            }
        }
        // What waits for a restart is told again by the next reload.
        let config = Config {
            eal_args: old.eal_args.clone(),
            workers: old.workers.clone(),
            parking: old.parking,
            links: old.links.clone(),
            control: old.control.clone(),
            metrics: old.metrics,
            ..new
        };
        plan.in_force = (!shapes.is_empty()).then_some(InForce { config, groups: shapes });
        plan
    }

    /// A plan has been carried out.
    pub fn done(&mut self, plan: &mut Plan) {
        match plan.in_force.take() {
            Some(now) => *self = now,
            // The groups were left alone.
            None => self.config.local = plan.local.take().unwrap_or_else(|| self.config.local.clone()),
        }
    }
}

impl Plan {
    fn group(&mut self, index: usize, new: GroupConfig, old: &Shape, shape: &mut Shape, may_seal: bool) {
        let name = new.name.clone();
        let mut selectors: Vec<Selector> = Vec::new();
        for selector in new.sas.iter().flat_map(|sa| &sa.params.selectors) {
            if !selectors.contains(selector) {
                selectors.push(*selector);
            }
        }
        let (remove, add) = (Vec::new(), Vec::new());
        let mut group = GroupPlan { index, treatment: None, registration: None, remove, add, selectors };
        if (new.without_sa, new.enforce) != (old.without_sa, old.enforce) {
            group.treatment = Some((new.without_sa, new.enforce));
            self.changes.push(format!("group {name}: without_sa or enforce has changed"));
        }
        match (&old.registration, new.registration) {
            (None, None) => {}
            (Some(before), Some(after)) if before.is_same(&after) => {}
            (Some(_), Some(after)) => {
                self.changes
                    .push(format!("group {name}: registers again, with what has changed of how it does"));
                group.registration = Some(after);
            }
            (before, _) => {
                self.needs_restart.push(format!("group {name}: key_servers were added or removed"));
                shape.registration.clone_from(before);
            }
        }
        let removed = old.sas.iter().filter(|(spi, sa)| shape.sas.get(spi) != Some(sa)).map(|(&spi, _)| spi);
        group.remove = removed.collect();
        group.add =
            new.sas.into_iter().filter(|sa| old.sas.get(&sa.params.spi) != Some(&fingerprint(sa))).collect();
        if !may_seal && group.add.iter().any(|sa| sa.params.direction.sends()) {
            self.needs_restart.push(format!(
                "group {name}: a manual SA that seals, where there was none before, needs a file of reservations"
            ));
            (group.remove, group.add) = (Vec::new(), Vec::new());
            shape.sas.clone_from(&old.sas);
        }
        if !group.remove.is_empty() || !group.add.is_empty() {
            let (out, into) = (group.remove.len(), group.add.len());
            self.changes.push(format!("group {name}: {out} manual SAs are taken out, {into} are put in"));
        }
        let nothing = group.treatment.is_none() && group.registration.is_none();
        if !nothing || !group.remove.is_empty() || !group.add.is_empty() {
            self.groups.push(group);
        }
    }
}

impl Shape {
    fn of(group: &GroupConfig) -> Self {
        Self {
            name: group.name.clone(),
            id: group.id,
            without_sa: group.without_sa,
            enforce: group.enforce,
            registration: group.registration.clone(),
            sas: group.sas.iter().map(|sa| (sa.params.spi, fingerprint(sa))).collect(),
        }
    }
}

/// What tells a manual SA from another, without its keys.
fn fingerprint(sa: &ManualSa) -> Fingerprint {
    let p = &sa.params;
    let plain = format!(
        "{:?} {:?} {:?} {:?} {} {} {:?} {:?}\0",
        p.transform.name(),
        p.mode,
        p.direction,
        p.replay,
        p.sid,
        p.sid_bits,
        p.selectors,
        sa.lifetime
    );
    Fingerprint::of(&[plain.as_bytes(), &p.key[..], b"\0", &p.integrity_key[..]].concat())
}
