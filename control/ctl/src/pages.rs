//! Shell completions and manual pages, made from a program's clap definitions, so that they never say anything
//! else than `--help`. Used when packages are built, or by hand; runs before a program does anything.

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a daemon writes instead of starting; `getvpnctl` has subcommands for it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Pages {
    /// Write completions for a shell to standard output, and end.
    #[arg(long, value_enum, value_name = "SHELL")]
    pub completions: Option<Shell>,

    /// Write the manual page into a directory, and end.
    #[arg(long, value_name = "DIR")]
    pub man: Option<PathBuf>,
}

impl Pages {
    /// Writes what is asked for, the manual pages for section 8. False when nothing is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, command: impl Fn() -> Command) -> io::Result<bool> {
        if let Some(shell) = self.completions {
            completions(command(), shell, &mut io::stdout().lock())?;
        }
        if let Some(dir) = &self.man {
            man(command(), "8", dir)?;
        }
        Ok(self.completions.is_some() || self.man.is_some())
    }
}

/// Writes completions of a program's command line.
///
/// # Errors
/// When they cannot be written.
pub fn completions(mut command: Command, shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

/// Writes the manual pages of a program and of each of its subcommands into a directory, which is made where there
/// is none.
///
/// # Errors
/// When one cannot be written; the error names it.
pub fn man(command: Command, section: &str, dir: &Path) -> io::Result<()> {
    let named = |path: &Path| {
        format!("{} cannot be written; name a directory that this user can write", path.display())
    };
    fs::create_dir_all(dir).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", named(dir))))?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut left = vec![command];
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned());
        let (name, text) = page(command, section)?;
        let path = dir.join(name);
        fs::write(&path, text).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", named(&path))))?;
    }
    Ok(())
}

/// The name of a page's file, and what is in it.
fn page(command: Command, section: &str) -> io::Result<(String, Vec<u8>)> {
    let closing = command.get_after_help().map(ToString::to_string);
    let has_subcommands = command.has_subcommands();
    let man = Man::new(command).section(section).manual("getvpn");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if has_subcommands {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(closing) = closing {
        let mut roff = Roff::new();
        for part in closing.split("\n\n") {
            match part.strip_prefix("Exit status:\n") {
                Some(codes) => {
                    roff.control("SH", ["EXIT STATUS"]).control("nf", []);
                    for line in codes.lines() {
                        roff.text([roman(line.trim_start())]);
                    }
                    roff.control("fi", []);
                }
                None => {
                    roff.control("SH", ["NOTES"]).text([roman(part)]);
                }
            }
        }
        roff.to_writer(&mut text)?;
    }
    Ok((man.get_filename(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Command {
        Command::new("getvpn-x")
            .about("Does it.")
            .after_help("Exit status:\n  0  done\n  1  -refused\n\nMore of it.")
            .subcommand(Command::new("sa").subcommand(Command::new("list").about("Lists.")))
            .subcommand(Command::new("secret").hide(true))
    }

    #[test]
    fn each_subcommand_has_a_page_and_the_first_one_tells_the_exit_codes() {
        let dir = tempfile::tempdir().expect("a directory");
        man(program(), "8", &dir.path().join("new")).expect("written");
        let mut names: Vec<_> = fs::read_dir(dir.path().join("new"))
            .expect("made")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        assert_eq!(names, ["getvpn-x-sa-list.8", "getvpn-x-sa.8", "getvpn-x.8"]);
        let page = fs::read_to_string(dir.path().join("new/getvpn-x.8")).expect("there");
        for text in [".SH \"EXIT STATUS\"\n.nf\n0  done\n1  \\-refused\n.fi\n", ".SH NOTES\nMore of it."] {
            assert!(page.contains(text), "{page}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let error = man(program(), "1", Path::new("/proc/none")).expect_err("not possible");
        assert!(error.to_string().contains("/proc/none cannot be written"), "{error}");
    }

    #[test]
    fn completions_know_the_subcommands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            completions(program(), shell, &mut script).expect("written");
            assert!(String::from_utf8_lossy(&script).contains("list"), "{shell}");
        }
    }
}
