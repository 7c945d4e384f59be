//! `getvpnctl sa export`: the keys of SAs in a file for Wireshark, and what that means said aloud.

use crate::probing::{Daemon, create, file_refused};
use clap::Args;
use getvpn_ctl::client::ClientError;
use getvpn_ctl::reply::ExportedSas;
use getvpn_ctl::{Command, Spi, esp_keys, render};
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `sa export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The file; one that is there already is not touched. Standard output otherwise.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The SPIs of the SAs, such as 0x00010001 or 65537; all of them otherwise.
    #[arg(value_name = "SPI")]
    spis: Vec<Spi>,
}

impl ExportArguments {
    /// What the daemon is asked.
    pub fn command(&self) -> Command {
        Command::SaExport { spis: self.spis.clone() }
    }
}

/// Writes the keys; returns what goes to standard output.
pub fn export(daemon: &Daemon<'_>, arguments: &ExportArguments) -> Result<String, ClientError> {
    let file = arguments.out.as_deref().map(|path| create(path).map_err(|e| file_refused(path, &e)));
    let file = file.transpose()?;
    let answer: Result<(ExportedSas, String), _> = daemon.ask(&arguments.command());
    let (exported, reply) = answer.inspect_err(|_| {
        // There is nothing in it.
        let _ = arguments.out.as_deref().map(std::fs::remove_file);
    })?;
    let to = arguments.out.as_deref().map_or("standard output".into(), |path| path.display().to_string());
    eprintln!("{}", render::export_warning(&exported, &to));
    let text = if daemon.json { reply } else { esp_keys::esp_sa(&exported.sas) };
    let (Some(mut file), Some(path)) = (file, &arguments.out) else { return Ok(text) };
    file.write_all(text.as_bytes()).map_err(|e| file_refused(path, &e))?;
    Ok(String::new())
}
