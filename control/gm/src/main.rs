//! The group member daemon's command line. Reads it, and says how everything ended by the exit status.

use clap::{CommandFactory, Parser};
use getvpn_ctl::pages::Pages;
use getvpn_gm::config::{Config, Machine, refuse_eal_argument};
use getvpn_gm::daemon::{self, Options, RunError};
use getvpn_gm::doctor;
use getvpn_gm::logging::{self, LogFormat};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXIT_CODES: &str = "Exit status:
  0  stopped by SIGINT, SIGTERM or --until-idle; with --check: the configuration is good;
     with --doctor: nothing is red
  1  something failed while it ran; it ended without letting anything through;
     with --doctor: something is red
  2  the command line, the configuration or the machine does not allow it to start

What EAL options can do is told by `dpdk-testpmd --help`. The core list is derived from [workers] cores.
SIGHUP has the configuration read again, as `getvpnctl reload` does.";

/// A member of a group-encrypted VPN: encrypts and decrypts ESP between its LAN and WAN ports.
#[derive(Debug, Parser)]
#[command(name = "getvpn-gm", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Arguments {
    /// The configuration, gm.toml.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["completions", "man"])]
    config: Option<PathBuf>,

    /// Check the configuration, say what is wrong with it, and end.
    #[arg(long)]
    check: bool,

    /// Look at the machine, say what it lacks for this configuration and what to do about it, and end.
    #[arg(long, conflicts_with = "check")]
    doctor: bool,

    /// With --doctor: print it as JSON, as `getvpnctl --json doctor` does.
    #[arg(long, requires = "doctor")]
    json: bool,

    /// End when no packet has arrived for so long: for runs on capture files.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    until_idle: Option<Duration>,

    /// Write the last counters to a file, as `getvpnctl --json counters` shows them.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,

    /// How log lines look, and where they go [default: journald in a service of systemd, text elsewhere]
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// What is logged: error, warn, info, debug, trace, or a filter such as info,getvpn_gm=debug.
    #[arg(long, env = "GETVPN_LOG", value_name = "LEVEL", default_value = "info")]
    log_level: String,

    #[command(flatten)]
    pages: Pages,

    /// More arguments for EAL, behind those of the configuration.
    #[arg(last = true, value_name = "EAL ARGUMENTS")]
    eal: Vec<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds, such as 2 or 0.5".to_owned())?;
    if seconds.is_nan() || seconds <= 0.0 {
        return Err("must be more than 0".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    // clap itself ends a wrong command line with exit status 2.
    let arguments = Arguments::parse();
    match arguments.pages.write(Arguments::command) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("getvpn-gm: {error}");
            return ExitCode::from(2);
        }
    }
    if arguments.doctor {
        return look(&arguments);
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("getvpn-gm: {error}");
            ExitCode::from(if error.is_before_start() { 2 } else { 1 })
        }
    }
}

fn look(arguments: &Arguments) -> ExitCode {
    let file = arguments.config.clone().unwrap_or_default();
    match Machine::this() {
        Ok(machine) if doctor::before_start(&file, &machine, &arguments.eal, arguments.json) => {
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("getvpn-gm: {}", RunError::Machine(error));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), RunError> {
    if let Some(problem) = arguments.eal.iter().find_map(|argument| refuse_eal_argument(argument)) {
        return Err(RunError::EalArgument(problem));
    }
    let machine = Machine::this().map_err(RunError::Machine)?;
    let file = arguments.config.unwrap_or_default();
    let config = Config::load(&file, &machine)?;
    if arguments.check {
        for warning in &config.warnings {
            eprintln!("getvpn-gm: warning: {warning}");
        }
        println!("OK");
        return Ok(());
    }
    logging::start(arguments.log_format, &arguments.log_level).map_err(RunError::Log)?;
    daemon::run(
        config,
        &file,
        &machine,
        &Options { eal_args: arguments.eal, until_idle: arguments.until_idle, summary: arguments.summary },
    )
}
