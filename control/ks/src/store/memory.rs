//! A store that is gone with its last handle: for tests and simulations, with faults on demand.

use super::{Store, StoreError};
use crate::core::Change;
use crate::core::record::{Key, Record};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// What becomes of the next commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// They are made.
    #[default]
    None,
    /// They fail, and nothing has been written.
    Refused,
    /// They fail, but everything has been written: the process died before it learned of it.
    WrittenUnnoticed,
}

/// Records in memory, as octets, so that encoding and decoding are part of every test. Handles share
/// them: a "restarted" server gets a clone.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>,
    fault: Fault,
    commits: u64,
}

impl MemoryStore {
    /// What becomes of commits from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    /// Commits that were made.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Vec<(Key, Record)>, StoreError> {
        let state = self.lock();
        let records = state.records.iter();
        records.map(|(key, record)| Ok((Key::decode(key)?, Record::decode(record)?))).collect()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut state = self.lock();
        let failed = || StoreError::Failed { path: PathBuf::new(), problem: "a fault was wanted".into() };
        if state.fault == Fault::Refused {
            return Err(failed());
        }
        for change in changes {
            match &change.record {
                Some(record) => state.records.insert(change.key.encode(), record.encode()),
                None => state.records.remove(&change.key.encode()),
            };
        }
        state.commits += 1;
        if state.fault == Fault::WrittenUnnoticed { Err(failed()) } else { Ok(()) }
    }
}
