//! Files that a configuration names, and who may read them. Read at a daemon's start.

use crate::error::ConfigError;
use crate::reader::Value;
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The path that a value names; a relative one starts at the configuration file's directory, `base`.
///
/// # Errors
/// When the value is no path.
pub fn path(value: &Value<'_>, base: &Path) -> Result<PathBuf, ConfigError> {
    Ok(base.join(value.string("a path")?))
}

/// The path of a UNIX socket.
///
/// # Errors
/// When the value is no path, or one that is too long for a socket.
pub fn socket(value: &Value<'_>, base: &Path) -> Result<PathBuf, ConfigError> {
    let path = path(value, base)?;
    // sockaddr_un holds 108 octets with the final NUL.
    if path.as_os_str().len() > 107 {
        return Err(value.error("the path is longer than the 107 octets that a UNIX socket can have"));
    }
    Ok(path)
}

/// What is in a file of at most `limit` octets.
///
/// # Errors
/// When there is none, it is empty or longer, or it may not be read.
pub fn read_limited(value: &Value<'_>, base: &Path, limit: usize) -> Result<Vec<u8>, ConfigError> {
    let path = path(value, base)?;
    let (file, _) = open(value, &path)?;
    let mut octets = Vec::new();
    read_all(value, &path, file, limit, &mut octets).map(|()| octets)
}

/// What is in a file with a secret in it, of at most `limit` octets.
///
/// # Errors
/// As [`read_limited`], and when others than its owner may use it.
pub fn read_secret(value: &Value<'_>, base: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let path = path(value, base)?;
    let (file, meta) = open(value, &path)?;
    owner_only(value, &path, &meta)?;
    // Room for all at once, so that no half-read secret is left behind in freed memory.
    let mut octets = Zeroizing::new(Vec::with_capacity(limit + 1));
    read_all(value, &path, file, limit, &mut octets).map(|()| octets)
}

/// What is wrong when others than the owner may use a file; `None` also when there is no such file.
#[must_use]
pub fn open_to_others(path: &Path) -> Option<String> {
    problem_with(path, &fs::metadata(path).ok()?)
}

fn open(value: &Value<'_>, path: &Path) -> Result<(File, Metadata), ConfigError> {
    let shown = path.display();
    let (file, meta) =
        File::open(path).and_then(|file| file.metadata().map(|meta| (file, meta))).map_err(|e| {
            value.error(match e.kind() {
                ErrorKind::NotFound => {
                    format!(
                        "there is no file {shown}; a relative path starts at the directory of the configuration"
                    )
                }
                ErrorKind::PermissionDenied => {
                    format!("{shown} may not be read by this user; chown or chmod it")
                }
                _ => format!("{shown} cannot be read: {e}"),
            })
        })?;
    if !meta.is_file() {
        return Err(value.error(format!("{shown} is no regular file")));
    }
    if meta.len() == 0 {
        return Err(value.error(format!("{shown} is empty")));
    }
    Ok((file, meta))
}

/// What is in `file`, behind what `octets` holds; an error when it is more than `limit` octets.
fn read_all(
    value: &Value<'_>,
    path: &Path,
    file: File,
    limit: usize,
    octets: &mut Vec<u8>,
) -> Result<(), ConfigError> {
    let shown = path.display();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(octets).map_err(|e| value.error(format!("{shown} cannot be read: {e}")))?;
    if octets.len() > limit {
        return Err(value.error(format!("{shown} is longer than {limit} octets")));
    }
    Ok(())
}

fn owner_only(value: &Value<'_>, path: &Path, meta: &Metadata) -> Result<(), ConfigError> {
    match problem_with(path, meta) {
        Some(problem) => Err(value.error(format!("{} {problem}", path.display()))),
        None => Ok(()),
    }
}

fn problem_with(path: &Path, meta: &Metadata) -> Option<String> {
    let mode = meta.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & 0o077 != 0)
        .then(|| format!("holds keys and others may use it (mode {mode:04o}); do `chmod 600 {shown}`"))
}
