//! `docs/counters.md` says what the tables in the code say. `UPDATE=1 cargo test` writes it anew.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write;
use std::path::Path;

use getvpn_dataplane::DropReason;
use getvpn_dataplane::counters::{Kind, Tally};

#[test]
fn the_page_on_counters_is_the_tables_in_the_code() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/counters.md");
    let expected = page_on_counters();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap();
    assert!(
        written == expected,
        "docs/counters.md is out of date: run UPDATE=1 cargo test -p getvpn-dataplane"
    );
}

fn page_on_counters() -> String {
    let mut page = String::from(
        "# Counters\n\n\
         Made from the tables in `dataplane/src/counters.rs` and `dataplane/src/verdict.rs`; do not edit.\n\n\
         For every worker and link, at every moment:\n\n\
         ```\n\
         rx = decrypted + encrypted + bypassed + to_exception + parked + the sum of all drops\n\
         tx = decrypted + encrypted + bypassed + fragments + icmp + from_exception, less what reassembly joined\n\
         ```\n\n\
         Verdicts are counted in frames received: a datagram that came in three fragments and was opened counts \
         as three decrypted.\n\n\
         | counter | metric | kind | meaning |\n|---|---|---|---|\n",
    );
    for counter in Tally::COUNTERS {
        let kind = format!("{:?}", counter.kind).to_lowercase();
        let total = if counter.kind == Kind::Counter { "_total" } else { "" };
        let (name, metric, meaning) = (counter.name, counter.metric, counter.meaning);
        writeln!(page, "| `{name}` | `getvpn_gm_{metric}{total}` | {kind} | {meaning} |").unwrap();
    }
    page.push_str("\n## Why packets are dropped\n\nThe metric is `getvpn_gm_dropped_frames_total`, with the reason as a label.\n\n| reason | meaning | what to look at |\n|---|---|---|\n");
    for reason in DropReason::ALL {
        writeln!(page, "| `{}` | {} | {} |", reason.name(), reason.meaning(), reason.advice()).unwrap();
    }
    page
}
