//! Files that a configuration names, and who may read them. Control thread, at the start; opens
//! nothing but to see that it can be opened.

use super::error::ConfigError;
use super::reader::Value;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The path that a value names; a relative one starts at the configuration file's directory.
pub(super) fn path(value: &Value<'_>, base: &Path) -> Result<PathBuf, ConfigError> {
    Ok(base.join(value.string("a path")?))
}

/// A file that can be read.
pub(super) fn readable(value: &Value<'_>, base: &Path) -> Result<PathBuf, ConfigError> {
    let path = path(value, base)?;
    let shown = path.display();
    let meta = File::open(&path).and_then(|file| file.metadata()).map_err(|e| {
        value.error(match e.kind() {
            ErrorKind::NotFound => {
                format!(
                    "there is no file {shown}; a relative path starts at the directory of the configuration"
                )
            }
            ErrorKind::PermissionDenied => format!("{shown} may not be read by this user; chown or chmod it"),
            _ => format!("{shown} cannot be read: {e}"),
        })
    })?;
    if !meta.is_file() {
        return Err(value.error(format!("{shown} is no regular file")));
    }
    if meta.len() == 0 {
        return Err(value.error(format!("{shown} is empty")));
    }
    Ok(path)
}

/// A file with a secret in it, which can be read by its owner only.
pub(super) fn secret(value: &Value<'_>, base: &Path) -> Result<PathBuf, ConfigError> {
    let path = readable(value, base)?;
    match open_to_others(&path) {
        Some(problem) => Err(value.error(format!("{} {problem}", path.display()))),
        None => Ok(path),
    }
}

/// What is wrong when others than the owner may use a file.
pub(super) fn open_to_others(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    (mode & 0o077 != 0)
        .then(|| format!("holds keys and others may use it (mode {mode:04o}); do `chmod 600 {shown}`"))
}
