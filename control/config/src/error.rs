//! What is wrong with a configuration, and where. Read at a daemon's start; no I/O.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong with a configuration file, in one line:
/// `gm.toml:12:8: group.sa.key: what is wrong; what would be right`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Line and column, both from 1, the column in characters; none where the file as a whole is
    /// meant.
    pub at: Option<(usize, usize)>,
    /// The key, with the tables that it is in; empty where no key is meant.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.problem)
    }
}

/// A configuration file's text, to tell octet offsets as lines and columns.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file, for errors.
    pub file: &'a Path,
    /// What is in it.
    pub text: &'a str,
}

impl Source<'_> {
    /// The error at an offset of the text.
    #[must_use]
    pub fn error(&self, offset: usize, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            at: Some(position(self.text, offset)),
            key: key.to_owned(),
            problem: problem.into(),
        }
    }

    /// The line of an offset, from 1.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        position(self.text, offset).0
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_in_characters() {
        let text = "ab\n\nx\u{e4}y\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 1), (1, 2));
        assert_eq!(position(text, 3), (2, 1));
        assert_eq!(position(text, 7), (3, 3));
        assert_eq!(position(text, text.len()), (4, 1));
        assert_eq!(position(text, 99), (4, 1));
    }
}
