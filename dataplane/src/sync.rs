//! The synchronisation primitives of the lock-free modules: std's, or loom's when compiled with
//! the feature `loom`, so that the code which loom explores is the code that runs. Used by every thread;
//! holds no state and adds no behaviour. `Arc` is always std's: no proof here leans on its count.

#[cfg(feature = "loom")]
pub(crate) use loom::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, fence},
    },
    thread::yield_now,
};
#[cfg(not(feature = "loom"))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, fence},
    },
    thread::yield_now,
};

pub(crate) use std::sync::{TryLockError, atomic::Ordering};
