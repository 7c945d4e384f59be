//! What is well and what is not: the reply to `doctor`.

use serde::{Deserialize, Serialize};

/// The reply to `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doctor {
    /// What was looked at, in the order in which it is best put right.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is, a word or two.
    pub name: String,
    /// `green`; `yellow`: it works, not as well as it could, or may not for long; `red`: it does not work.
    pub state: String,
    /// What was found.
    pub says: String,
    /// What to do about it: a command where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    /// Nothing to do.
    #[must_use]
    pub fn green(name: &str, says: impl Into<String>) -> Self {
        Self { name: name.into(), state: "green".into(), says: says.into(), fix: None }
    }

    /// Could be better.
    #[must_use]
    pub fn yellow(name: &str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), state: "yellow".into(), says: says.into(), fix: Some(fix.into()) }
    }

    /// Does not work.
    #[must_use]
    pub fn red(name: &str, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), state: "red".into(), says: says.into(), fix: Some(fix.into()) }
    }
}

impl Doctor {
    /// Whether anything does not work.
    #[must_use]
    pub fn is_red(&self) -> bool {
        self.checks.iter().any(|check| check.state == "red")
    }
}
