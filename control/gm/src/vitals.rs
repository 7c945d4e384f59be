//! How a running member is: what `doctor` says of it besides the machine, and the clock's steps, which `status` shows
//! too. Control thread; changes nothing.

use dpdk::Port;
use getvpn_ctl::reply::{Check, ClockStep, Drops, GroupSync, PortCounters, Status};
use getvpn_dataplane::Dataplane;
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often it looks.
const PACE: Duration = Duration::from_secs(1);
/// How long "just now" is.
const RECENT: usize = 10;
/// What NTP does to a clock bit by bit is less in a second.
const STEP_MS: u64 = 50;
/// Seconds for which an SA that went missing is worth a look: rekeys come every few minutes to hours.
const LATELY_S: u64 = 3600;
/// Drops a second that are worth telling.
const DROPS_PER_S: f64 = 1.0;

/// What is watched.
#[derive(Debug, Default)]
pub struct Vitals {
    /// When it looked, and what the wall clock said, in milliseconds since 1970.
    looked: Option<(Instant, i64)>,
    steps: u64,
    last_step: Option<(Instant, i64)>,
    /// Frames lost at each port for want of time and of buffers, the oldest first.
    lost: VecDeque<Vec<[u64; 2]>>,
}

impl Vitals {
    /// Looks, if it is time for it.
    pub fn tick(&mut self, plane: &Dataplane, now: Instant) {
        if self.looked.is_some_and(|(at, _)| now.saturating_duration_since(at) < PACE) {
            return;
        }
        self.clock(now, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let lost = |port: &Port| port.stats().map_or([0; 2], |stats| [stats.rx_missed, stats.rx_no_buffer]);
        self.lost.push_back(plane.ports().iter().map(|port| lost(port)).collect());
        while self.lost.len() > RECENT + 1 {
            self.lost.pop_front();
        }
    }

    /// The wall clock against the one that nobody steps.
    fn clock(&mut self, now: Instant, wall: Duration) {
        let wall = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        if let Some((at, before)) = self.looked.replace((now, wall)) {
            let passed = i64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(i64::MAX);
            let by = wall.saturating_sub(before).saturating_sub(passed);
            if by.unsigned_abs() >= STEP_MS {
                self.steps += 1;
                self.last_step = Some((now, by));
                tracing::warn!(
                    event = "clock_stepped",
                    by_ms = by,
                    "this machine's clock was stepped by {by} ms"
                );
            }
        }
    }

    /// The last time that somebody set the clock.
    #[must_use]
    pub fn clock_step(&self, now: Instant) -> Option<ClockStep> {
        self.last_step.map(|(at, by_ms)| ClockStep {
            ago_s: now.saturating_duration_since(at).as_secs(),
            by_ms,
            steps: self.steps,
        })
    }

    /// What is well and what is not. `drops` are those of just now, `ports` in the order of the data plane's.
    #[must_use]
    pub fn checks(
        &self,
        plane: &Dataplane,
        status: &Status,
        groups: &[GroupSync],
        drops: &Drops,
        ports: &[PortCounters],
    ) -> Vec<Check> {
        let mut checks = links(status);
        checks.extend(status.groups.iter().filter(|group| group.key_server.is_none()).map(|group| {
            let name = format!("group {}", group.name);
            match group.sas {
                0 => Check::red(
                    &name,
                    "it has no SA left: expired or deleted",
                    "start again for its manual SAs",
                ),
                sas => Check::green(&name, format!("{sas} manual SAs")),
            }
        }));
        checks.extend(groups.iter().map(key_server));
        checks.extend(groups.iter().filter_map(missing));
        checks.push(buffers(plane.buffers()));
        checks.extend(self.lost(ports));
        checks.push(dropped(drops));
        checks.extend(status.clock_step.as_ref().map(stepped));
        checks
    }

    /// Frames that ports lost just now.
    fn lost(&self, ports: &[PortCounters]) -> Vec<Check> {
        let (Some(first), Some(last)) = (self.lost.front(), self.lost.back()) else { return Vec::new() };
        let seconds = self.lost.len().saturating_sub(1).max(1) as u64;
        let mut checks = Vec::new();
        for (port, (before, now)) in ports.iter().zip(first.iter().zip(last)) {
            let name = format!("{} port of {}", port.side, port.link);
            let [missed, no_buffer] = [0, 1].map(|i| now[i].saturating_sub(before[i]).div_ceil(seconds));
            if no_buffer > 0 {
                let found =
                    format!("{} had no buffer to receive into {no_buffer} times a second", port.device);
                checks.push(Check::red(
                    &name,
                    found,
                    "make [workers] buffers larger, and see `sync` for what waits",
                ));
            }
            if missed > 0 {
                let found =
                    format!("{} loses {missed} frames a second: the workers are too slow", port.device);
                let fix = "`runtime` shows the workers' load: name more [workers] cores, or free those that they share";
                checks.push(Check::red(&name, found, fix));
            }
        }
        if checks.is_empty() {
            checks.push(Check::green("receiving", "no port loses frames"));
        }
        checks
    }
}

fn links(status: &Status) -> Vec<Check> {
    let mut checks = Vec::new();
    for link in &status.links {
        for (side, device, up) in [("LAN", &link.lan, link.lan_up), ("WAN", &link.wan, link.wan_up)] {
            if !up {
                let found = format!("the {side} port {device} is down");
                let fix = "look at the cable, the transceiver and the port at its other end; `status` shows it as well";
                checks.push(Check::red(&format!("link {}", link.name), found, fix));
            }
        }
        if link.lan_up && link.wan_up {
            checks.push(Check::green(&format!("link {}", link.name), "both ports are up"));
        }
    }
    checks
}

fn key_server(group: &GroupSync) -> Check {
    let name = format!("group {}", group.name);
    let with = &group.key_server;
    let failed = group.failed.as_ref().map(|failed| format!(": {}", failed.why)).unwrap_or_default();
    let fix = || fix(group.failed.as_ref().map_or("", |failed| &failed.why), with);
    match group.state.as_str() {
        "in-step" => Check::green(&name, format!("in step with key server {with}")),
        "asking" => Check::yellow(
            &name,
            format!("asks {with} for SAs that are missing"),
            "`sync` shows which and why",
        ),
        "no-route" => {
            Check::red(&name, format!("there is no way to {with}"), "`ip route get` its address; add a route")
        }
        // The first try may take a moment.
        "registering" | "re-registering" if failed.is_empty() => Check::yellow(
            &name,
            format!("registers with {with}"),
            "ask again in a moment; `sync` shows how it goes",
        ),
        state => Check::red(&name, format!("{state}, not registered with {with}{failed}"), fix()),
    }
}

/// What to do about a registration that failed.
fn fix(why: &str, key_server: &str) -> String {
    let why = why.to_ascii_lowercase();
    let host = key_server.rsplit_once(':').map_or(key_server, |(host, _)| host);
    if why.contains("no-proposal-chosen") {
        "name a phase1 in common at both ends; the key server's log has what was offered".into()
    } else if why.contains("authentication-failed") {
        "the pre-shared keys differ, or a certificate is not accepted: compare psk_file at both ends; the key server's log \
         says which"
            .into()
    } else if why.contains("certificate") || why.contains("expired") {
        "compare the certificates at both ends, their dates, CAs and CRLs: `openssl x509 -noout -dates -subject -in FILE`"
            .into()
    } else if why.contains("no answer") {
        format!(
            "`ping {host}`; does the key server run, is UDP 848 let through, and has it the same pre-shared key for this \
             member? Its log says more"
        )
    } else {
        "compare psk_file, local_id and phase1 at both ends; the key server's log names the peer and the reason".into()
    }
}

/// SAs that went missing: rekeys got lost, of late or once.
fn missing(group: &GroupSync) -> Option<Check> {
    let recovery = &group.recovery;
    let asked = recovery.recovered + recovery.unknown + recovery.refused + recovery.abandoned;
    let last = group.asked.last().map(|last| last.ago_s);
    let name = format!("rekeys of {}", group.name);
    let counts = format!(
        "{asked} SAs came late and were asked for since the start, {} of them in vain; the last {}",
        asked - recovery.recovered.min(asked),
        last.map_or("long ago".into(), |ago_s| format!("{ago_s} s ago"))
    );
    (asked > 0).then(|| match last {
        Some(ago_s) if ago_s < LATELY_S => {
            let fix = "rekeys get lost on their way: is UDP 848 let through from the key server, and multicast if it uses \
                       that? `sync` here, and at the key server, where it shows who misses rekeys";
            Check::yellow(&name, counts, fix)
        }
        _ => Check::green(&name, counts),
    })
}

fn buffers((available, all): (u32, u32)) -> Check {
    const NAME: &str = "buffers";
    let percent = u64::from(available) * 100 / u64::from(all.max(1));
    let found = format!("{available} of {all} are free");
    let fix = "make [workers] buffers larger; what holds them: `counters` (parked), `sync` (packets that wait for SAs)";
    match percent {
        0..5 => Check::red(NAME, found, fix),
        5..20 => Check::yellow(NAME, found, fix),
        _ => Check::green(NAME, found),
    }
}

fn dropped(drops: &Drops) -> Check {
    const NAME: &str = "drops";
    let mut growing: Vec<_> = drops
        .drops
        .iter()
        .filter_map(|drop| Some((drop.recent_per_s.filter(|&rate| rate >= DROPS_PER_S)?, drop)))
        .collect();
    growing.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let Some((_, worst)) = growing.first() else { return Check::green(NAME, "none just now") };
    let told: Vec<_> =
        growing.iter().take(3).map(|(rate, drop)| format!("{} {rate:.0} a second", drop.reason)).collect();
    let found = format!("{}: {}", told.join(", "), worst.meaning);
    Check::yellow(NAME, found, format!("{}; `drops` shows whose they are", worst.advice))
}

fn stepped(step: &ClockStep) -> Check {
    let seconds = std::time::Duration::from_millis(step.by_ms.unsigned_abs()).as_secs_f64();
    let sign = if step.by_ms < 0 { "back" } else { "forward" };
    let found = format!(
        "was set {sign} by {seconds:.1} s, {} s ago; {} times since the start",
        step.ago_s, step.steps
    );
    let fix = "who sets it? `timedatectl`, `chronyc tracking`; SAs do not mind, certificates may";
    Check::yellow("clock", found, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use getvpn_ctl::reply::{DropDetail, LastRegistration, LinkStatus, Recovery};

    #[test]
    fn a_clock_that_is_set_is_told_and_one_that_is_slewed_is_not() {
        let mut vitals = Vitals::default();
        let (start, wall) = (Instant::now(), Duration::from_secs(1_000_000));
        vitals.clock(start, wall);
        let later = |s: u64| (start + Duration::from_secs(s), wall + Duration::from_secs(s));
        let (at, time) = later(1);
        vitals.clock(at, time + Duration::from_millis(1));
        assert_eq!(vitals.clock_step(at), None);
        let (at, time) = later(2);
        vitals.clock(at, time + Duration::from_secs(3600));
        let (at, time) = later(3);
        vitals.clock(at, time);
        let step = vitals.clock_step(at + Duration::from_secs(5)).expect("it was stepped");
        assert_eq!((step.ago_s, step.by_ms, step.steps), (5, -3_600_000, 2));
        assert!(
            stepped(&step).says.contains("set back by 3600.0 s, 5 s ago; 2 times"),
            "{:?}",
            stepped(&step)
        );
    }

    fn group(state: &str, failed: Option<&str>) -> GroupSync {
        GroupSync {
            name: "finance".into(),
            id: 1,
            state: state.into(),
            key_server: "192.0.2.1:848".into(),
            phase1: false,
            registered: None,
            failed: failed.map(|why| LastRegistration { ago_s: 1, why: why.into() }),
            retry_in_ms: None,
            kek: None,
            asking: Vec::new(),
            asked: Vec::new(),
            pending: 0,
            remembered: 0,
            recovery: Recovery::default(),
            counters: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_group_that_is_not_registered_says_why_and_what_to_do() {
        for (state, failed, colour, word) in [
            ("in-step", None, "green", "in step"),
            ("in-step", Some("no answer in time"), "green", "in step"),
            ("registering", None, "yellow", "registers"),
            ("backing-off", Some("192.0.2.1:848: no answer in time"), "red", "ping 192.0.2.1"),
            ("registering", Some("phase 1: the certificate has expired"), "red", "openssl x509"),
            (
                "backing-off",
                Some("no answer after AUTHENTICATION-FAILED"),
                "red",
                "the pre-shared keys differ",
            ),
            ("backing-off", Some("no answer after NO-PROPOSAL-CHOSEN"), "red", "a phase1 in common"),
            ("backing-off", Some("phase 1: something else"), "red", "psk_file"),
            ("no-route", None, "red", "ip route get"),
        ] {
            let check = key_server(&group(state, failed));
            assert_eq!(check.state, colour, "{check:?}");
            assert!(format!("{check:?}").contains(word), "{check:?}");
        }
        let mut lossy = group("in-step", None);
        assert_eq!(missing(&lossy), None);
        lossy.recovery.recovered = 3;
        let last = |ago_s| getvpn_ctl::reply::AskedSpi {
            spi: getvpn_ctl::Spi(0x1234_5678),
            why: "packets".into(),
            tries: 1,
            missing_ms: 1.5,
            ago_s,
            outcome: "recovered".into(),
        };
        for (ago_s, colour) in [(59, "yellow"), (LATELY_S - 1, "yellow"), (LATELY_S, "green")] {
            lossy.asked = vec![last(3 * LATELY_S), last(ago_s)];
            let check = missing(&lossy).expect("told");
            assert_eq!(check.state, colour, "{check:?}");
            assert!(check.says.starts_with("3 SAs came late"), "{check:?}");
            assert!(check.says.ends_with(&format!("the last {ago_s} s ago")), "{check:?}");
        }
    }

    #[test]
    fn buffers_links_and_drops() {
        assert_eq!(buffers((1000, 1024)).state, "green");
        assert_eq!(buffers((100, 1024)).state, "yellow");
        assert_eq!(buffers((10, 1024)).state, "red");
        let drop = |reason: &str, recent| DropDetail {
            reason: reason.into(),
            count: 1000,
            recent_per_s: Some(recent),
            meaning: "seen before".into(),
            advice: "look for a loop".into(),
            ..DropDetail::default()
        };
        let drops = |all| Drops { drops: all, ..Drops::default() };
        assert_eq!(dropped(&drops(vec![drop("old", 0.0)])).state, "green");
        let told = dropped(&drops(vec![drop("no_sa", 2.0), drop("replay_duplicate", 500.0)]));
        assert_eq!(told.says, "replay_duplicate 500 a second, no_sa 2 a second: seen before");
        let link = LinkStatus {
            name: "site".into(),
            lan: "a".into(),
            wan: "b".into(),
            mtu: 1500,
            lan_up: true,
            wan_up: false,
        };
        let status = Status {
            role: "gm".into(),
            version: String::new(),
            pid: 1,
            uptime_s: 1,
            workers: 1,
            links: vec![link],
            groups: Vec::new(),
            clock_step: None,
        };
        let checks = links(&status);
        assert!(
            checks.len() == 1 && checks[0].state == "red" && checks[0].says == "the WAN port b is down",
            "{checks:?}"
        );
    }
}
