//! The key server daemon's command line. Reads it, and says how everything ended by the exit status.

use clap::{CommandFactory, Parser};
use getvpn_config::logging::{self, LogFormat};
use getvpn_ctl::pages::Pages;
use getvpn_ks::config::Config;
use getvpn_ks::daemon::{self, RunError};
use getvpn_ks::doctor;
use std::path::PathBuf;
use std::process::ExitCode;

const EXIT_CODES: &str = "Exit status:
  0  stopped by SIGINT or SIGTERM; with --check: the configuration is good; with --doctor: nothing is red
  1  the store failed while it ran; with --doctor: something is red
  2  the command line, the configuration or the machine does not allow it to start

SIGHUP reads the configuration again.";

/// The key server of a group-encrypted VPN: authenticates members and hands them their SAs.
#[derive(Debug, Parser)]
#[command(name = "getvpn-ks", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Arguments {
    /// The configuration, ks.toml.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["completions", "man"])]
    config: Option<PathBuf>,

    /// Check the configuration, say what is wrong with it, and end.
    #[arg(long)]
    check: bool,

    /// Look at the machine and the files, say what is wrong and what to do about it, and end.
    #[arg(long, conflicts_with = "check")]
    doctor: bool,

    /// With --doctor: print it as JSON, as `getvpnctl --json doctor` does.
    #[arg(long, requires = "doctor")]
    json: bool,

    /// How log lines look, and where they go [default: journald in a service of systemd, text elsewhere]
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// What is logged: error, warn, info, debug, trace, or a filter such as info,getvpn_ks=debug.
    #[arg(long, env = "GETVPN_LOG", value_name = "LEVEL", default_value = "info")]
    log_level: String,

    #[command(flatten)]
    pages: Pages,
}

fn main() -> ExitCode {
    // clap itself ends a wrong command line with exit status 2.
    let arguments = Arguments::parse();
    match arguments.pages.write(Arguments::command) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("getvpn-ks: {error}");
            return ExitCode::from(2);
        }
    }
    if arguments.doctor {
        let file = arguments.config.clone().unwrap_or_default();
        return ExitCode::from(u8::from(!doctor::before_start(&file, arguments.json)));
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("getvpn-ks: {error}");
            ExitCode::from(if error.is_before_start() { 2 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), RunError> {
    let file = arguments.config.clone().unwrap_or_default();
    let config = Config::load(&file)?;
    if arguments.check {
        for warning in &config.warnings {
            eprintln!("getvpn-ks: warning: {warning}");
        }
        println!("OK");
        return Ok(());
    }
    logging::start(arguments.log_format, &arguments.log_level).map_err(RunError::Log)?;
    daemon::run(config, &file)
}
