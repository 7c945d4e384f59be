//! Reading gm.toml again while the member runs: on `reload` and on SIGHUP. The file is read and checked by another
//! thread; what follows from it is done between two ticks, and published at once.

use super::Control;
use crate::config::{Config, ConfigError};
use crate::reload::{GroupPlan, Plan};
use crate::{doctor, manual};
use getvpn_ctl::reply::Reloaded;
use getvpn_ctl::server::Call;
use getvpn_ctl::{Fault, FaultCode, Spi};
use getvpn_doctor::Subject;
use std::time::Instant;
use tokio::task::{self, JoinHandle};
use tracing::{error, info, warn};

/// A configuration that is being read.
pub(super) struct Reloading {
    loading: JoinHandle<Result<Config, ConfigError>>,
    /// Who asked, unless it was SIGHUP.
    call: Option<Call>,
    dry_run: bool,
}

impl Control {
    /// Begins to read the configuration again.
    pub(super) fn reload(&mut self, call: Option<Call>, dry_run: bool) {
        if self.reloading.is_some() {
            let busy = Fault::new(FaultCode::Busy, "reload: another one is under way; try again");
            return call.into_iter().for_each(|call| call.answer(Err::<(), _>(busy.clone())));
        }
        if !dry_run {
            self.service.reloading();
        }
        let (file, machine) = (self.file.clone(), self.machine.clone());
        let loading = task::spawn_blocking(move || Config::load(&file, &machine));
        self.reloading = Some(Reloading { loading, call, dry_run });
    }

    /// Does what follows from a configuration that has been read meanwhile.
    pub(super) async fn follow_configuration(&mut self, now: Instant) {
        let Some(read) = self.reloading.take_if(|reloading| reloading.loading.is_finished()) else { return };
        let result = match read.loading.await {
            Ok(Ok(config)) => self.take_over(config, read.dry_run, now),
            Ok(Err(wrong)) => {
                Err(Fault::new(FaultCode::InvalidArgument, format!("nothing has changed: {wrong}")))
            }
            Err(panicked) => Err(Fault::new(FaultCode::Internal, panicked.to_string())),
        };
        if !read.dry_run {
            self.service.ready();
        }
        match &result {
            Err(fault) => {
                error!(event = "reload_failed", error = %fault, "the configuration stays as it was: {fault}")
            }
            Ok(reply) if !reply.dry_run => tell(reply),
            Ok(_) => {}
        }
        read.call.into_iter().for_each(|call| call.answer(result.clone()));
    }

    fn take_over(&mut self, config: Config, dry_run: bool, now: Instant) -> Result<Reloaded, Fault> {
        let subject = doctor::subject(&config, &config.groups, &[]);
        let mut plan = self.in_force.plan(config, self.reservations.is_some());
        if !dry_run {
            self.carry_out(&mut plan, now)?;
            let Subject { secrets, certificates, .. } = subject;
            self.subject = Subject { secrets, certificates, ..self.subject.clone() };
        }
        let Plan { changes, needs_restart, warnings, .. } = plan;
        Ok(Reloaded { dry_run, changes, needs_restart, warnings })
    }

    fn carry_out(&mut self, plan: &mut Plan, now: Instant) -> Result<(), Fault> {
        if plan.changes.is_empty() {
            self.in_force.done(plan);
            return Ok(());
        }
        if let Some(local) = &plan.local {
            self.member.sad_mut().set_local(local.clone());
        }
        for group in std::mem::take(&mut plan.groups) {
            self.change_group(group, &mut plan.warnings, now)?;
        }
        self.in_force.done(plan);
        self.publish().map_err(|error| {
            let text = format!("the data plane does not take it, and keeps what it had: {error}");
            Fault::new(FaultCode::Internal, text)
        })
    }

    fn change_group(
        &mut self,
        plan: GroupPlan,
        warnings: &mut Vec<String>,
        now: Instant,
    ) -> Result<(), Fault> {
        let GroupPlan { index, treatment, registration, remove, mut add, selectors } = plan;
        if let Some((without_sa, enforce)) = treatment {
            self.member.sad_mut().set_treatment(index, without_sa, enforce);
        }
        for spi in &remove {
            self.member.sad_mut().remove(*spi);
            self.forget(*spi);
        }
        let sad = self.member.sad_mut();
        add.retain(|sa| {
            let taken = sad.contains(sa.params.spi);
            if taken {
                let spi = Spi(sa.params.spi);
                warnings.push(format!("SA {spi} is not put in: a key server's SA has its SPI"));
            }
            !taken
        });
        if !remove.is_empty() || !add.is_empty() {
            sad.set_manual(index, selectors);
        }
        manual::put(add, self.plane.workers(), sad, self.reservations.as_mut(), now).map_err(|error| {
            Fault::new(FaultCode::Internal, format!("a manual SA cannot be made: {error}"))
        })?;
        if let Some(registration) = registration {
            self.key_servers.reconfigure(index, registration, now);
        }
        Ok(())
    }
}

fn tell(reply: &Reloaded) {
    for warning in reply.warnings.iter().chain(&reply.needs_restart) {
        warn!(event = "configuration_warning", "{warning}");
    }
    for change in &reply.changes {
        info!(event = "configuration_changed", "{change}");
    }
    info!(event = "reloaded", changes = reply.changes.len(), "the configuration has been read again");
}
