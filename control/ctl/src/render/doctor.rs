//! `doctor` as a table: what is wrong first, each with its fix.

use super::{L, cell, coloured, section, sentence, table};
use crate::reply::Doctor;
use comfy_table::Color;

/// The reply to `doctor`.
#[must_use]
pub fn doctor(reply: &Doctor) -> String {
    let mut out = String::new();
    let mut checks = table(&[("", L), ("looked at", L), ("found; what to do", L)]);
    let mut counts = Vec::new();
    for (state, colour) in [("red", Color::Red), ("yellow", Color::Yellow), ("green", Color::Green)] {
        let of_state = || reply.checks.iter().filter(|check| check.state == state);
        counts.push(format!("{} {state}", of_state().count()));
        for check in of_state() {
            let fix = check.fix.as_ref().map(|fix| format!("\n-> {fix}")).unwrap_or_default();
            checks.add_row(vec![
                coloured(state, colour),
                cell(&check.name, L),
                cell(&format!("{}{fix}", check.says), L),
            ]);
        }
    }
    section(&mut out, &checks);
    out.push_str(&format!("\n{}\n", sentence(&counts.join(", "))));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Check;

    #[test]
    fn what_is_wrong_stands_first_with_its_fix() {
        let checks = vec![
            Check::green("clock source", "tsc"),
            Check::red("hugepages", "none", "sudo hugepages/setup 2048"),
        ];
        assert_eq!(
            doctor(&Doctor { checks }),
            "       looked at     found; what to do\n\
             red    hugepages     none\n\
             \x20                    -> sudo hugepages/setup 2048\n\
             green  clock source  tsc\n\
             \n\
             1 red, 0 yellow, 1 green\n"
        );
    }
}
