//! Files of the kernel under a root that need not be `/`. What cannot be read is as if it were not there.

use std::fs;
use std::path::PathBuf;

/// Where `/sys` and `/proc` are.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

impl Default for Tree {
    fn default() -> Self {
        Self("/".into())
    }
}

impl Tree {
    /// Under another root, for tests.
    #[must_use]
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// What is in a file, without white space around it.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        let text = fs::read(self.0.join(path)).ok()?;
        Some(String::from_utf8_lossy(&text).trim().to_owned())
    }

    /// The number in a file.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// The names in a directory, sorted.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether there is something.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    /// The last part of what a symbolic link points to.
    #[must_use]
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.0.join(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// The CPUs of a list such as `0-3,8`.
#[must_use]
pub(crate) fn cpu_list(text: &str) -> Vec<u32> {
    let mut cpus = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            cpus.extend(first..=last);
        }
    }
    cpus
}

/// Numbers as a list for people.
#[must_use]
pub(crate) fn listed(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
