//! `docs/events.md` lists the events that the code logs, all of them and no others, each with its meaning.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where log lines are written, from the top.
const SOURCES: [&str; 9] = [
    "control/config/src",
    "control/ctl/src",
    "control/gdoi/src",
    "control/gm/src",
    "control/ks/src",
    "control/metrics/src",
    "dataplane/dpdk-sys",
    "dataplane/dpdk/src",
    "dataplane/src",
];
const MACROS: [&str; 5] = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];

#[test]
fn every_log_line_has_an_event_that_is_listed_and_every_listed_one_is_logged() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let logged: BTreeSet<String> =
        SOURCES.iter().flat_map(|source| files(&top.join(source))).flat_map(|file| events(&file)).collect();
    assert!(logged.len() > 50, "{logged:?}");
    let page = fs::read_to_string(top.join("docs/events.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let names: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert!(names.is_sorted(), "in the order of the alphabet");
    assert_eq!(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), logged);
    for row in rows {
        assert!(["both", "key server", "member"].contains(&row[1]), "{row:?}");
        assert!(row[2].len() > 10, "{row:?}");
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The events of a file's log lines; each line must name one first of all.
fn events(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut found = Vec::new();
    for start in MACROS.iter().flat_map(|name| text.match_indices(name)) {
        let (at, name) = start;
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let event = text[at + name.len()..].trim_start().strip_prefix("event = \"");
        let event = event.and_then(|rest| rest.split('"').next());
        let event = event.unwrap_or_else(|| panic!("{}:{line}: a log line without an event", file.display()));
        assert!(event.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_')), "{event}");
        found.push(event.to_owned());
    }
    found
}
