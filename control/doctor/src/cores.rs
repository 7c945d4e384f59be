//! The workers' cores: whether the scheduler keeps off them, and what else runs there.

use crate::tree::{cpu_list, listed};
use crate::{Subject, Tree};
use getvpn_ctl::reply::Check;
use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

/// How long is watched.
const WATCH: Duration = Duration::from_millis(300);
/// Hundredths of a second of another thread on a worker's core within that time that are worth telling.
const BUSY: u64 = 2;
/// Times a second that a worker may lose its core to the kernel's own work.
const PREEMPTED: u64 = 30;

pub(crate) fn isolated(tree: &Tree, subject: &Subject) -> Check {
    const NAME: &str = "isolated cores";
    let isolated = cpu_list(&tree.read("sys/devices/system/cpu/isolated").unwrap_or_default());
    let open: Vec<u32> = subject.cores.iter().copied().filter(|core| !isolated.contains(core)).collect();
    if open.is_empty() {
        return Check::green(NAME, format!("the scheduler keeps off {}", listed(&subject.cores)));
    }
    let found = format!("the scheduler puts other work on {}", listed(&open));
    Check::yellow(
        NAME,
        found,
        format!("sudo hugepages/isolate {}, then reboot", listed(&open).replace(", ", ",")),
    )
}

/// A thread, and what it has used.
#[derive(Clone, Debug)]
struct Thread {
    name: String,
    process: u64,
    ticks: u64,
    core: u32,
}

pub(crate) fn shared(tree: &Tree, subject: &Subject) -> Check {
    const NAME: &str = "shared cores";
    let (before, switches, begun) = (threads(tree), preemptions(tree), Instant::now());
    thread::sleep(WATCH);
    let (after, now) = (threads(tree), preemptions(tree));
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(1).max(1);
    let own = tree.link_name("proc/self").and_then(|pid| pid.parse().ok());
    let mut busy: Vec<(u64, &Thread)> = after
        .iter()
        .filter(|(_, thread)| subject.cores.contains(&thread.core) && Some(thread.process) != own)
        .filter_map(|(id, thread)| {
            let used =
                thread.ticks.saturating_sub(before.get(id).map_or(thread.ticks, |thread| thread.ticks));
            (used >= BUSY).then_some((used * 1000 / ms, thread))
        })
        .collect();
    busy.sort_by_key(|&(share, _)| std::cmp::Reverse(share));
    if let Some((share, thread)) = busy.first() {
        let found = format!(
            "{} (process {}) takes {share} % of core {}, which is a worker's{}",
            thread.name,
            thread.process,
            thread.core,
            if busy.len() > 1 {
                format!(", and {} more threads run there", busy.len() - 1)
            } else {
                String::new()
            }
        );
        let others = cpu_list(&tree.read("sys/devices/system/cpu/online").unwrap_or_default());
        let others: Vec<u32> = others.into_iter().filter(|cpu| !subject.cores.contains(cpu)).collect();
        let fix = match others.is_empty() {
            true => {
                "give the workers a core of their own in [workers] cores: this machine has no other".into()
            }
            false => format!(
                "taskset -a -p -c {} {}, and isolate the workers' cores (hugepages/isolate)",
                listed(&others).replace(", ", ","),
                thread.process
            ),
        };
        // A worker that sleeps when nothing comes is made for cores that others use too.
        return if subject.spin { Check::red(NAME, found, fix) } else { Check::yellow(NAME, found, fix) };
    }
    let lost = now.values().sum::<u64>().saturating_sub(switches.values().sum());
    let per_s = lost * 1000 / ms;
    if per_s > PREEMPTED {
        let found = format!("the workers lost their cores {per_s} times a second");
        return Check::yellow(NAME, found, "see what runs there: `ps -eLo psr,pcpu,comm --sort=-pcpu`");
    }
    Check::green(NAME, format!("nothing else is busy on {}", listed(&subject.cores)))
}

/// All threads of the machine, by number.
fn threads(tree: &Tree) -> HashMap<u64, Thread> {
    let mut all = HashMap::new();
    for process in tree.names("proc").iter().filter_map(|name| name.parse::<u64>().ok()) {
        for task in
            tree.names(&format!("proc/{process}/task")).iter().filter_map(|name| name.parse::<u64>().ok())
        {
            let stat = tree.read(&format!("proc/{process}/task/{task}/stat"));
            if let Some(thread) = stat.and_then(|stat| parse(&stat, process)) {
                all.insert(task, thread);
            }
        }
    }
    all
}

/// A line of proc(5): the name stands in parentheses and may hold anything; utime, stime and processor are fields 14,
/// 15 and 39.
fn parse(stat: &str, process: u64) -> Option<Thread> {
    let (name, rest) = (stat.find('(')?, stat.rfind(')')?);
    let fields: Vec<&str> = stat.get(rest + 1..)?.split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some(Thread {
        name: stat.get(name + 1..rest)?.to_owned(),
        process,
        ticks: field(14)? + field(15)?,
        core: u32::try_from(field(39)?).ok()?,
    })
}

/// How often each worker of this process has lost its core against its will.
fn preemptions(tree: &Tree) -> HashMap<String, u64> {
    let tasks = tree.names("proc/self/task").into_iter().filter_map(|task| {
        let name = tree.read(&format!("proc/self/task/{task}/comm"))?;
        if !name.contains("worker") {
            return None;
        }
        let status = tree.read(&format!("proc/self/task/{task}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?;
        Some((task, line.trim().parse().ok()?))
    });
    tasks.collect()
}

#[cfg(test)]
mod unit {
    use super::parse;

    #[test]
    fn a_name_may_hold_anything() {
        let rest = (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let thread = parse(&format!("7 (a) b (c) S {rest}"), 7).expect("a thread");
        assert_eq!((thread.name.as_str(), thread.ticks, thread.core), ("a) b (c", 14 + 15, 39));
        assert!(parse("7 (a", 7).is_none());
    }
}
