//! What the member does for whoever asks at its control socket. Control thread.

use super::Control;
use crate::probing::Around;
use crate::{answers, doctor, keys, lookups};
use getvpn_config::level;
use getvpn_ctl::reply::{
    Doctor, ExportedSas, ProbePage, Resync, SaDeleted, SpiKnown, Status, Sync, SyncReply,
};
use getvpn_ctl::server::Call;
use getvpn_ctl::{Command, Fault, FaultCode, Peer, Spi};
use getvpn_dataplane::FiveTuple;
use getvpn_doctor::{Subject, Tree};
use std::time::Instant;
use tokio::task;
use tracing::{error, info, warn};

impl Control {
    pub(super) fn answer(&mut self, call: Call, now: Instant) {
        let tallies = || self.plane.counters();
        match call.command {
            Command::Status {} => {
                let status = self.status(now);
                call.answer(Ok(status));
            }
            Command::Counters { per } => {
                let ports = self.member.ports(&self.plane);
                let counters = answers::counters(&tallies(), ports, self.member.links(), per);
                call.answer(Ok(self.baseline.of(counters, now)));
            }
            Command::Drops { all, peek } => {
                let drops = self.inspector.drops(&self.plane, self.member.links(), all, peek, now);
                call.answer(Ok(self.baseline.of_drops(drops, all)));
            }
            Command::Runtime {} => call.answer(Ok(self.inspector.runtime(&self.plane))),
            Command::SaList {} => call.answer(Ok(answers::sa_list(self.member.sad(), now))),
            Command::SaShow { spi } => {
                let limit = |worker| self.reservations.as_ref()?.limit(spi.0, worker);
                call.answer(answers::sa_show(self.member.sad(), spi, limit, now));
            }
            Command::SaDelete { spi } => {
                let deleted = self.delete(spi);
                call.answer(deleted);
            }
            Command::SaExport { ref spis } => {
                let exported = self.export(call.peer, spis);
                call.answer(exported);
            }
            Command::Policy { src, dst, protocol, src_port, dst_port } => {
                let tuple = FiveTuple { src, dst, protocol, src_port, dst_port };
                let name = |group| self.member.sad().name_of(group);
                call.answer(lookups::policy_hit(&tuple, self.plane.explain(&tuple), name));
            }
            Command::Spi { spi } => {
                let known = self.spi_known(spi, now);
                call.answer(Ok(known));
            }
            Command::UnknownSpi {} => {
                let lost = tallies().iter().map(|each| each.tally.punts_lost).sum();
                call.answer(Ok(self.member.unknown_spis(&self.key_servers, lost, now)));
            }
            Command::Trace { ref filter, count, timeout_s } => {
                let (plane, links, owner) = (&mut self.plane, self.member.links(), call.peer);
                let started = self.probing.trace(plane, links, owner, (filter, count, timeout_s), now);
                call.answer(started);
            }
            Command::Capture { ref filter, side, stage, bounds } => {
                let (plane, links, owner) = (&mut self.plane, self.member.links(), call.peer);
                let started = self.probing.capture(plane, links, owner, (filter, side, stage, bounds), now);
                call.answer(started);
            }
            Command::ProbeRead { probe } => {
                let page = self.probe_page(call.peer, probe, false, now);
                call.answer(page);
            }
            Command::ProbeStop { probe } => {
                let page = self.probe_page(call.peer, probe, true, now);
                call.answer(page);
            }
            Command::Sync {} => {
                let parking = answers::parking(self.plane.parking(), &self.parking, self.plane.workers());
                let sync = Sync { parking, ..self.key_servers.sync(now) };
                call.answer(Ok(SyncReply::Member(sync)));
            }
            Command::Resync { ref group } => {
                let group = group.clone();
                let answer = self.key_servers.resync(now, &group);
                let no_group =
                    || Fault::new(FaultCode::NotFound, format!("no group {group} has key servers"));
                let answer = answer.ok_or_else(no_group);
                call.answer(answer.map(|key_server| Resync { group: group.clone(), key_server }));
            }
            Command::Doctor {} => self.examine(call, now),
            Command::Reload { dry_run } => self.reload(Some(call), dry_run),
            Command::LogLevel { ref level, for_s } => {
                let answer = level::answer(level.as_deref(), for_s, now);
                call.answer(answer);
            }
            Command::ResetCounters {} => {
                let ports = self.member.ports(&self.plane);
                let counters = answers::counters(&tallies(), ports, self.member.links(), true);
                let reset = self.baseline.reset(counters, now);
                info!(event = "counters_reset", "counters and drops start from zero for getvpnctl");
                call.answer(Ok(reset));
            }
            Command::GroupList {}
            | Command::MemberList { .. }
            | Command::MemberRemove { .. }
            | Command::MemberReadmit { .. }
            | Command::Rekey { .. } => {
                let fault = call.command.not_here("a group member");
                call.answer(Err::<(), _>(fault));
            }
        }
    }

    /// The keys of SAs, which the control socket lets only root ask for.
    fn export(&self, peer: Peer, spis: &[Spi]) -> Result<ExportedSas, Fault> {
        let sas = keys::export(self.member.sad(), spis)?;
        let named: Vec<String> = sas.iter().map(|sa| sa.spi.to_string()).collect();
        let named = named.join(", ");
        warn!(
            event = "sa_exported", uid = peer.uid, pid = peer.pid, spis = %named,
            "{peer} was given the keys of SAs {named}"
        );
        Ok(ExportedSas { sas })
    }

    fn probe_page(&mut self, peer: Peer, probe: u32, stop: bool, now: Instant) -> Result<ProbePage, Fault> {
        let around = Around { sad: self.member.sad(), links: self.member.links() };
        self.probing.read(&mut self.plane, &around, peer, (probe, stop), now)
    }

    fn status(&self, now: Instant) -> Status {
        let clock_step = self.vitals.clock_step(now);
        Status { clock_step, ..self.member.status(&self.plane, &self.key_servers, now) }
    }

    /// Answers `doctor`. The machine is another thread's business: it is watched for a while.
    fn examine(&mut self, call: Call, now: Instant) {
        if self.examining.as_ref().is_some_and(|examining| !examining.is_finished()) {
            let busy = Fault::new(FaultCode::Busy, "doctor: another one is under way; try again in a second");
            return call.answer(Err::<(), _>(busy));
        }
        let drops = self.inspector.drops(&self.plane, self.member.links(), false, true, now);
        let (status, groups) = (self.status(now), self.key_servers.sync(now).groups);
        let ports = self.member.ports(&self.plane);
        let mut checks = self.vitals.checks(&self.plane, &status, &groups, &drops, &ports);
        let subject = Subject { unix_time: doctor::unix_time(), ..self.subject.clone() };
        self.examining = Some(task::spawn_blocking(move || {
            checks.extend(getvpn_doctor::examine(&Tree::default(), &subject));
            call.answer(Ok(Doctor { checks }));
        }));
    }

    fn spi_known(&self, spi: Spi, now: Instant) -> SpiKnown {
        let limit = |worker| self.reservations.as_ref()?.limit(spi.0, worker);
        let sa = answers::sa_show(self.member.sad(), spi, limit, now).ok();
        let unknown = self.member.unknown_spis(&self.key_servers, 0, now).spis;
        let unknown = unknown.into_iter().find(|unknown| unknown.spi == spi);
        let mark = self.member.sad().spi_test().of(spi.0);
        lookups::spi_known(spi, sa, unknown, mark, self.key_servers.asked_for(spi, now))
    }

    fn delete(&mut self, spi: Spi) -> Result<SaDeleted, Fault> {
        let sad = self.member.sad_mut();
        let found = sad.find(spi.0).ok_or_else(|| answers::no_sa(spi))?;
        let group = sad.group_name(&found.sa).to_owned();
        let manual =
            if self.key_servers.delete_sa(Instant::now(), spi.0, sad) { None } else { sad.remove(spi.0) };
        self.forget(spi.0);
        if let Err(error) = self.publish() {
            // What was in force stays in force, and the SAD says so.
            error!(event = "publish_failed", %error, "SA {spi} cannot be deleted: {error}");
            manual.into_iter().for_each(|entry| self.member.sad_mut().install(entry));
            return Err(Fault::new(FaultCode::Internal, error.to_string()));
        }
        info!(event = "sa_deleted", %spi, %group, "SA {spi} of group {group} deleted by the operator");
        Ok(SaDeleted { deleted: spi, group })
    }
}
