//! What a command needs: reading is for whoever may connect, changes and secrets are not. One table, which the
//! daemons check requests by, `getvpnctl` what can be watched, and PROTOCOL.md is held to.

use crate::Command;

/// What a command does, as far as it matters to who may ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only shows something: whoever may connect.
    Read,
    /// It changes something: root, and the user that the daemon runs as.
    Change,
    /// It reveals keys or cleartext: root.
    Secret,
}

impl Access {
    /// Its name, as PROTOCOL.md has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Change => "change",
            Access::Secret => "secret",
        }
    }
}

impl Command {
    /// What it needs.
    #[must_use]
    pub fn access(&self) -> Access {
        // Each by its name, so that a new command is not forgotten.
        match self {
            Command::Status {}
            | Command::Doctor {}
            | Command::Counters { .. }
            | Command::Drops { .. }
            | Command::Runtime {}
            | Command::SaList {}
            | Command::SaShow { .. }
            | Command::Policy { .. }
            | Command::Spi { .. }
            | Command::UnknownSpi {}
            | Command::Sync {}
            | Command::GroupList {}
            | Command::MemberList { .. } => Access::Read,
            Command::Reload { dry_run: true } | Command::LogLevel { level: None, .. } => Access::Read,
            // What they meet is told to whoever began them, so these two are no less.
            Command::Trace { .. }
            | Command::ProbeRead { .. }
            | Command::ProbeStop { .. }
            | Command::SaDelete { .. }
            | Command::Resync { .. }
            | Command::MemberRemove { .. }
            | Command::MemberReadmit { .. }
            | Command::Rekey { .. }
            | Command::LogLevel { level: Some(_), .. }
            | Command::ResetCounters {}
            | Command::Reload { dry_run: false } => Access::Change,
            Command::Capture { .. } | Command::SaExport { .. } => Access::Secret,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::tests::all_commands;

    #[test]
    fn the_protocols_page_says_of_each_command_whom_it_is_for() {
        let page = include_str!("../PROTOCOL.md");
        for command in all_commands() {
            let row = format!("| `{}` |", command.name());
            let row = page.lines().find(|line| line.starts_with(&row)).expect("every command has its row");
            let told = row.trim_end_matches(" |").rsplit("| ").next().expect("a last cell");
            let access = command.access().name();
            assert!(
                told.starts_with(access) || told.contains(&format!("`{access}` with")),
                "{row}: {access}"
            );
        }
    }
}
