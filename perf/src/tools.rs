//! Programs that are run beside the measured code: for their output, or in the background until dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

/// What a program prints. It is given no input and starts on whatever core it pins itself to.
pub fn output(program: &str, args: &[impl AsRef<OsStr>]) -> Result<String> {
    let done = Command::new(program).args(args).stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("{program} cannot be run: packaging/install bench brings it"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{program} failed ({}):\n{said}", done.status);
    Ok(said)
}

/// A program that runs until this is dropped; what it prints is in a file.
pub struct Background {
    child: Child,
    name: String,
}

impl Background {
    /// Starts it free to run on all of `cpus`, wherever the calling thread is pinned.
    pub fn start(
        program: &Path,
        args: &[impl AsRef<OsStr>],
        log: &Path,
        cpus: &CpuSet,
    ) -> Result<Background> {
        let name = program.display().to_string();
        let out = File::create(log)?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = thread::scope(|scope| {
            let starter = scope.spawn(|| -> io::Result<Child> {
                sched_setaffinity(None, cpus)?;
                command.spawn()
            });
            starter.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        });
        Ok(Background { child: child.with_context(|| format!("{name} cannot be run"))?, name })
    }

    /// Fails if the program has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} has ended: {status}", self.name),
            None => Ok(()),
        }
    }

    /// Asks until there is an answer, for at most ten seconds.
    pub fn wait_for<T>(&mut self, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(answer) = ask() {
                return Ok(answer);
            }
            self.check()?;
            ensure!(Instant::now() < end, "{} does not get ready", self.name);
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Background {
    /// SIGINT, since every program here ends cleanly by it, and SIGKILL if it does not.
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            kill_process(pid, Signal::INT).ok();
        }
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
