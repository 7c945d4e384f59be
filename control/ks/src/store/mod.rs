//! What must survive: where the authority's records are kept. A commit is all or nothing, and durable
//! when it returns.

mod file;
mod memory;
#[cfg(test)]
mod tests;

pub use file::FileStore;
pub use memory::{Fault, MemoryStore};

use crate::core::Change;
use crate::core::record::{Damaged, Key, Record};
use std::path::PathBuf;

/// A store of records.
pub trait Store: Send {
    /// Everything in it, in the order of the keys.
    ///
    /// # Errors
    /// When it cannot be read or does not make sense.
    fn load(&mut self) -> Result<Vec<(Key, Record)>, StoreError>;

    /// Makes changes durable, all or none.
    ///
    /// # Errors
    /// When it cannot be done. Then none of them has been made, as far as the store can tell; making them
    /// again later does no harm.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// What is wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made.
    #[error("{}: the store's directory cannot be made: {problem}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        problem: std::io::Error,
    },
    /// Others than the owner could read the keys.
    #[error("{}: others than its owner may use it; chmod {mode} it", path.display())]
    Open {
        /// The directory or file.
        path: PathBuf,
        /// What its mode should be.
        mode: &'static str,
    },
    /// Another process has it.
    #[error("{}: another key server uses this store; end it, or name another directory", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It was written by another version of this program.
    #[error("{}: the store has schema {found}, this version reads {expected}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: u32,
        /// What is read.
        expected: u32,
    },
    /// What it holds is no store, or damaged.
    #[error("{}: {problem}; restore it from a backup, or move it away to begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A read or write failed.
    #[error("{}: {problem}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// How.
        problem: String,
    },
}

impl StoreError {
    /// That the records of this file do not make sense.
    #[must_use]
    pub fn damaged(path: &std::path::Path, damaged: &Damaged) -> Self {
        StoreError::Damaged { path: path.to_owned(), problem: damaged.to_string() }
    }
}

impl From<Damaged> for StoreError {
    fn from(damaged: Damaged) -> Self {
        StoreError::Damaged { path: PathBuf::new(), problem: damaged.to_string() }
    }
}
