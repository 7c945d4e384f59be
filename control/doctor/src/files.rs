//! Files with keys, and certificates.

use crate::Subject;
use getvpn_ctl::reply::Check;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// When a certificate is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose: a group's name, or the server's.
    pub of: String,
    /// Seconds since 1970.
    pub not_before: u64,
    /// Seconds since 1970.
    pub not_after: u64,
}

const DAY: u64 = 86_400;
/// From when on the end of a certificate is told.
const SOON: u64 = 30 * DAY;

pub(crate) fn secrets(files: &[PathBuf]) -> Vec<Check> {
    const NAME: &str = "files with keys";
    let mut checks = Vec::new();
    for file in files {
        let shown = file.display();
        match File::open(file).and_then(|file| file.metadata()) {
            Err(error) => {
                checks.push(Check::red(
                    NAME,
                    format!("{shown}: {error}"),
                    format!("sudo chown $USER {shown}"),
                ));
            }
            Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                let found =
                    format!("others may use {shown} (mode {:04o})", meta.permissions().mode() & 0o777);
                checks.push(Check::red(NAME, found, format!("chmod 600 {shown}")));
            }
            Ok(_) => {}
        }
    }
    if checks.is_empty() && !files.is_empty() {
        checks.push(Check::green(NAME, "only their owner may read them"));
    }
    checks
}

pub(crate) fn certificates(subject: &Subject) -> Vec<Check> {
    let now = subject.unix_time;
    let each = subject.certificates.iter().map(|certificate| {
        let name = format!("certificate of {}", certificate.of);
        let renew = "get a new one from your CA, put it in the place of the old one, then start again";
        let days = |seconds: u64| match seconds / DAY {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        if now > certificate.not_after {
            let ago = days(now - certificate.not_after);
            Check::red(&name, format!("expired {ago} ago: no peer accepts it"), renew)
        } else if now < certificate.not_before {
            let found = format!("not valid for {} yet", days(certificate.not_before - now));
            Check::red(&name, found, "is this machine's clock right? `timedatectl`")
        } else if certificate.not_after - now < SOON {
            Check::yellow(&name, format!("expires in {}", days(certificate.not_after - now)), renew)
        } else {
            Check::green(&name, format!("valid for {}", days(certificate.not_after - now)))
        }
    });
    each.collect()
}
