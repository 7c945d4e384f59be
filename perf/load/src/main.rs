//! `getvpn-perf-load`: the traffic generator of perf/pktgen's tests on one machine. It offers the frames of
//! capture files at set rates through DPDK devices, counts what comes back and how long it took. One
//! thread, which asks for nothing while a trial runs. Commands come as lines of JSON on its standard input
//! and are answered by a line each; perf/pktgen/README.md says what the figures mean. Not part of the product.

mod frames;
mod ports;
mod trial;

use std::io::{self, BufRead, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ports::Ports;
use crate::trial::Trial;

#[derive(Parser)]
#[command(about = "Offers packets at a set rate through DPDK devices, counts and times what comes back.")]
struct Arguments {
    /// A device, as EAL's --vdev takes it; those of --vdev are ports 0, 1 and so on.
    #[arg(long, required = true)]
    vdev: Vec<String>,
    /// The core that it runs on.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Octets of the largest packet without its Ethernet header.
    #[arg(long, default_value_t = 1600)]
    mtu: u16,
    /// Megabytes of ordinary memory.
    #[arg(long, default_value_t = 256)]
    memory: usize,
}

/// What a line on the standard input asks for.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Ask {
    /// Wait until all ports have a link, for so many seconds at most.
    Link(f64),
    /// Offer and count.
    Trial(Trial),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut ports = Ports::open(&arguments.vdev, arguments.core, arguments.mtu, arguments.memory)?;
    let say = |value: &Value| -> Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, value)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    };
    say(&json!({ "ready": ports.names() }))?;
    for line in io::stdin().lock().lines() {
        match answer(&line?, &mut ports) {
            Ok(value) => say(&value)?,
            Err(error) => say(&json!({ "error": format!("{error:#}") }))?,
        }
    }
    Ok(())
}

fn answer(line: &str, ports: &mut Ports) -> Result<Value> {
    match serde_json::from_str(line).context("not a command")? {
        Ask::Link(seconds) => {
            ensure!(
                seconds.is_finite() && (0.0..=600.0).contains(&seconds),
                "wait up to 600 s, not {seconds}"
            );
            ports.wait_for_link(Duration::from_secs_f64(seconds))?;
            Ok(json!({ "link": true }))
        }
        Ask::Trial(trial) => Ok(serde_json::to_value(trial.run(ports)?)?),
    }
}
