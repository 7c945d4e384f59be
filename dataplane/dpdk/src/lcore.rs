//! EAL's worker threads, one pinned to each core: launching a function on one, and waiting for it. And
//! the cycle counter that workers tell time by.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, mpsc};
use std::thread;

use dpdk_sys as sys;

use crate::eal::{Eal, Guard};
use crate::errno::Errno;

/// An lcore: EAL's number of a thread, which by default is the number of the core it is pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LcoreId(u32);

impl LcoreId {
    /// EAL's number.
    #[must_use]
    pub fn index(self) -> u32 {
        self.0
    }

    /// The NUMA node of its core.
    #[must_use]
    pub fn socket(self) -> u32 {
        // SAFETY: reads a table for a valid lcore: LcoreIds come from EAL.
        unsafe { sys::rte_lcore_to_socket_id(self.0) }
    }
}

impl fmt::Display for LcoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lcore {}", self.0)
    }
}

/// Why a function could not be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// It runs another function.
    #[error("{0} is busy")]
    Busy(LcoreId),
    /// It is the main lcore, or none of EAL's.
    #[error("{0} is not a worker lcore")]
    NotAWorker(LcoreId),
    /// DPDK refused.
    #[error("{0} could not be started: {1}")]
    Refused(LcoreId, Errno),
}

impl Eal {
    /// The lcores that a function can be launched on: all but the main one, in ascending order.
    #[must_use]
    pub fn worker_lcores(&self) -> Vec<LcoreId> {
        let next = |after: u32| {
            // SAFETY: reads EAL's table of lcores; u32::MAX starts from the first.
            let lcore = unsafe { sys::rte_get_next_lcore(after, 1, 0) };
            (lcore < sys::RTE_MAX_LCORE).then_some(lcore)
        };
        std::iter::successors(next(u32::MAX), |&lcore| next(lcore)).map(LcoreId).collect()
    }

    /// Runs `work` on an idle worker lcore. A panic in it ends at [`JoinHandle::join`].
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn launch<T, F>(&self, lcore: LcoreId, work: F) -> Result<JoinHandle<T>, LaunchError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !self.worker_lcores().contains(&lcore) {
            return Err(LaunchError::NotAWorker(lcore));
        }
        let (sender, result) = mpsc::sync_channel(1);
        let guard = Arc::clone(self.guard());
        let job: Job = Box::new(move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(work));
            guard.lcore_ended();
            // The guard goes with the outcome: were it EAL's last, this lcore could not clean up.
            if let Err(mpsc::SendError((outcome, guard))) = sender.send((outcome, guard)) {
                // Nobody waits for the outcome; it may hold mbufs, which are given back here.
                guard.lcore_starts();
                drop(outcome);
                guard.lcore_ended();
            }
        });

        let argument = Box::into_raw(Box::new(job));
        let control = self.guard().control();
        self.guard().lcore_starts();
        // SAFETY: run_job takes a Box<Job> as its argument and is called with it once if this succeeds.
        let result_code = unsafe { sys::rte_eal_remote_launch(Some(run_job), argument.cast(), lcore.0) };
        drop(control);
        match Errno::check(result_code) {
            Ok(_) => Ok(JoinHandle { lcore, result }),
            Err(errno) => {
                self.guard().lcore_ended();
                // SAFETY: argument came from Box::into_raw and was not handed over.
                drop(unsafe { Box::from_raw(argument) });
                Err(if errno == BUSY { LaunchError::Busy(lcore) } else { LaunchError::Refused(lcore, errno) })
            }
        }
    }
}

/// A function that runs on an lcore. Dropped, it goes on unwatched.
#[derive(Debug)]
pub struct JoinHandle<T> {
    lcore: LcoreId,
    result: mpsc::Receiver<(thread::Result<T>, Arc<Guard>)>,
}

impl<T> JoinHandle<T> {
    /// Where it runs.
    #[must_use]
    pub fn lcore(&self) -> LcoreId {
        self.lcore
    }

    /// Sleeps until the function has returned; the lcore is then free for another.
    ///
    /// # Errors
    /// What the function panicked with, as for [`std::thread::JoinHandle::join`].
    pub fn join(self) -> thread::Result<T> {
        let (outcome, _guard) = self.result.recv().map_err(|error| Box::new(error) as Box<dyn Any + Send>)?;
        // SAFETY: waits for a valid lcore, which is past the function and at its last steps.
        unsafe { sys::rte_eal_wait_lcore(self.lcore.0) };
        outcome
    }
}

/// A counter of this core's constant rate, the same on all cores of a machine: [`cycles_hz`] a second.
#[inline]
#[must_use]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86_64 has the instruction; it only reads.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads a register.
    unsafe {
        sys::shim_cycles()
    }
}

/// How many [`cycles`] a second has; 0 before [`Eal::init`], which measures it.
#[must_use]
pub fn cycles_hz() -> u64 {
    // SAFETY: reads an integer.
    unsafe { sys::rte_get_tsc_hz() }
}

type Job = Box<dyn FnOnce() + Send>;

const BUSY: Errno = Errno(16);

/// What an lcore is started with. The job catches what panics in it.
unsafe extern "C" fn run_job(argument: *mut c_void) -> c_int {
    // SAFETY: launch made the argument from a Box<Job>, for this one call.
    let job = unsafe { Box::from_raw(argument.cast::<Job>()) };
    job();
    0
}
