//! DPDK's environment abstraction layer: started once per process by the control thread, cleaned up
//! after the last user of its memory. Never touched by a worker.

mod error;

pub use error::{EalError, EalProblem};

use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dpdk_sys as sys;

use crate::mempool::RetiredPool;

/// The running EAL. Cleaned up when this and everything made under it (mempools, ports, classifiers,
/// running lcores) is dropped.
#[derive(Debug)]
pub struct Eal {
    guard: Arc<Guard>,
}

impl Eal {
    /// Starts EAL with the given arguments, without the program's name; once per process, from the
    /// thread that becomes EAL's main lcore and is pinned to its core. What EAL prints or logs meanwhile
    /// is collected, not shown: see [`Eal::init_log`].
    ///
    /// # Errors
    /// [`EalError`] tells what is wrong, what to do, and DPDK's own last words. A process cannot try
    /// again.
    pub fn init(args: &[String]) -> Result<Eal, EalError> {
        let mut state = lock(&STATE);
        if !matches!(*state, State::Untried) {
            return Err(EalError::new(EalProblem::SecondInit, Vec::new()));
        }
        let mut argv = c_arguments(args)?;
        *state = State::Over;

        let argc = i32::try_from(argv.len() - 1)
            .map_err(|_| EalError::new(EalProblem::Arguments, vec!["too many arguments".to_owned()]))?;
        let mut text = ptr::null_mut();
        // SAFETY: argv holds argc NUL-terminated strings and a final null; strings and array are never
        // freed, as EAL keeps pointers to them. text is a place for one pointer.
        let result = unsafe { sys::shim_eal_init(argc, argv.as_mut_ptr(), &raw mut text) };
        argv.leak();
        let log = take_lines(text);
        if result < 0 {
            return Err(EalError::from_log(log));
        }

        if !args.iter().any(|arg| arg.starts_with("--log-level")) {
            // SAFETY: sets an integer; DPDK's logs then go to stderr, from warnings on.
            unsafe { sys::rte_log_set_global_level(sys::RTE_LOG_WARNING) };
        }
        let guard = Arc::new(Guard::new(log));
        *state = State::Live(Arc::downgrade(&guard));
        Ok(Eal { guard })
    }

    /// What EAL said while it started, one line each: the place where a device that could not be made
    /// says why.
    #[must_use]
    pub fn init_log(&self) -> &[String] {
        &self.guard.log
    }

    pub(crate) fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Says that the thread which called [`Eal::init`] has ended.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn main_thread_has_ended(&self) {
        self.guard.main_ended.store(true, Ordering::Release);
    }
}

/// EAL is not running in this process: [`Eal::init`] comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DPDK's EAL is not running in this process")]
pub struct NotInitialised;

/// Keeps EAL alive; held by everything that uses its memory or threads.
#[derive(Debug)]
pub(crate) struct Guard {
    /// What EAL said while it started.
    log: Vec<String>,
    /// Pools whose handle is gone while some of their mbufs are not back. Control threads write it.
    retired: Mutex<Vec<RetiredPool>>,
    /// Lcores that run a function of ours. Written by launching threads and the lcores.
    running: AtomicUsize,
    /// Whether the thread that started EAL has ended. Written once, by who has joined it.
    main_ended: AtomicBool,
    /// Serialises calls that DPDK does not let run side by side.
    control: Mutex<()>,
}

impl Guard {
    fn new(log: Vec<String>) -> Guard {
        Guard {
            log,
            retired: Mutex::default(),
            running: AtomicUsize::new(0),
            main_ended: AtomicBool::new(false),
            control: Mutex::default(),
        }
    }

    /// The running EAL.
    pub(crate) fn current() -> Result<Arc<Guard>, NotInitialised> {
        match &*lock(&STATE) {
            State::Live(guard) => guard.upgrade().ok_or(NotInitialised),
            _ => Err(NotInitialised),
        }
    }

    /// Held during configuration calls, which DPDK wants from one thread at a time.
    pub(crate) fn control(&self) -> MutexGuard<'_, ()> {
        lock(&self.control)
    }

    /// What EAL said about a device while it started: the lines that name it, and the driver's own just
    /// before.
    pub(crate) fn log_about(&self, device: &str) -> Vec<String> {
        let named = |line: &String| line.contains(device);
        let lines = self.log.iter().enumerate().filter(|&(at, line)| {
            let next = &self.log[at + 1..self.log.len().min(at + 3)];
            named(line) || (!line.starts_with("EAL:") && next.iter().any(named))
        });
        lines.map(|(_, line)| line.clone()).collect()
    }

    /// An lcore is about to run a function of ours. Not while pools are swept, which relies on none doing so.
    pub(crate) fn lcore_starts(&self) {
        let _retired = lock(&self.retired);
        self.running.fetch_add(1, Ordering::AcqRel);
    }

    /// The function has returned, and nothing of it is left on the lcore.
    pub(crate) fn lcore_ended(&self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }

    /// Frees the pool now if all its mbufs are back, otherwise when they are.
    pub(crate) fn retire(&self, pool: RetiredPool) {
        lock(&self.retired).push(pool);
        self.sweep();
    }

    /// Frees those retired pools whose mbufs are all back; whether none is left.
    pub(crate) fn sweep(&self) -> bool {
        let mut retired = lock(&self.retired);
        if self.is_quiescent() {
            retired.retain_mut(|pool| !pool.free_if_whole());
        }
        retired.is_empty()
    }

    /// Whether no thread but this one can be within an operation on a mempool's per-lcore cache, so that
    /// counts of mbufs are exact: no lcore runs and this is the main lcore, or that has ended. Other
    /// threads have no cache, and give back an mbuf by one atomic step that is visible when complete.
    fn is_quiescent(&self) -> bool {
        // SAFETY: reads a thread-local and a global integer.
        let on_main = unsafe { sys::shim_lcore_id() == sys::rte_get_main_lcore() };
        self.running.load(Ordering::Acquire) == 0 && (on_main || self.main_ended.load(Ordering::Acquire))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // While an mbuf is alive somewhere, or a thread may be giving one back, its memory must stay:
        // then EAL is left to the end of the process.
        if self.sweep() && self.is_quiescent() {
            // SAFETY: no pool, port, classifier or lcore is left: each holds this guard.
            unsafe { sys::rte_eal_cleanup() };
        }
    }
}

enum State {
    Untried,
    Live(Weak<Guard>),
    Over,
}

static STATE: Mutex<State> = Mutex::new(State::Untried);

/// The data behind these mutexes is whole between any two statements, so poison says nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program's name, the arguments and a null; the strings are leaked.
fn c_arguments(args: &[String]) -> Result<Vec<*mut std::ffi::c_char>, EalError> {
    let mut argv = vec![c"getvpn".as_ptr().cast_mut()];
    for arg in args {
        let arg = CString::new(arg.as_str()).map_err(|_| {
            EalError::new(EalProblem::Arguments, vec![format!("{arg:?} contains a NUL character")])
        })?;
        argv.push(arg.into_raw());
    }
    argv.push(ptr::null_mut());
    Ok(argv)
}

/// The lines of a C string, which is freed.
fn take_lines(text: *mut std::ffi::c_char) -> Vec<String> {
    if text.is_null() {
        return Vec::new();
    }
    // SAFETY: a non-null text is a NUL-terminated string.
    let lines = unsafe { CStr::from_ptr(text) }.to_string_lossy().lines().map(str::to_owned).collect();
    // SAFETY: text came from the C allocator, is owned by this function and not used after.
    unsafe { sys::shim_free(text.cast()) };
    lines
}
