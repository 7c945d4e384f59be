//! Runs the simulation: one run that is shown, or many seeds one after another with their figures at the
//! end. Exit 1 when something did not hold.

use clap::Parser;
use getvpn_simulation::{Options, Report, run};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(version, about = "A key server, its members and a bad network, in virtual time")]
struct Arguments {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, from the first on
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Members of each run
    #[arg(long, default_value_t = 8)]
    members: usize,
    /// Simulated days of each run
    #[arg(long, default_value_t = 30.0)]
    days: f64,
    /// The share of datagrams that is lost, 0 to 0.3; without it, as the seed says
    #[arg(long)]
    loss: Option<f64>,
    /// Print what happens
    #[arg(long)]
    trace: bool,
    /// Runs at a time
    #[arg(long, default_value = "1")]
    threads: NonZero<usize>,
    /// Begin no run after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let deadline = arguments.seconds.map(|seconds| began + Duration::from_secs(seconds));
    let next = AtomicU64::new(arguments.seed);
    let (total, failures) = (Mutex::new(Report::default()), AtomicU64::new(0));
    let end = arguments.seed.saturating_add(arguments.seeds);
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.get() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        break;
                    }
                    let Arguments { members, days, loss, trace, .. } = arguments;
                    match run(&Options { seed, members, days, loss, trace }) {
                        Ok(report) => total.lock().unwrap_or_else(PoisonError::into_inner).add(report),
                        Err(failure) => {
                            println!("{failure}");
                            failures.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    print!("{total}");
    println!("wall time {:.1} s", began.elapsed().as_secs_f64());
    let failures = failures.into_inner();
    if failures > 0 {
        println!("{failures} runs failed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
