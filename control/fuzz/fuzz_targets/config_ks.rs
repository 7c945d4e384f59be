//! Any octets as a key server's configuration: nothing panics, and what is wrong is told with its place.

#![no_main]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use getvpn_ks::config::Config;
use libfuzzer_sys::fuzz_target;

/// A directory with the one file that a configuration can name.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap().keep();
    let psk = directory.join("gm.psk");
    fs::write(&psk, "a secret").unwrap();
    fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).unwrap();
    directory
});

fuzz_target!(|octets: &[u8]| {
    let file = DIRECTORY.join("ks.toml");
    fs::write(&file, octets).unwrap();
    match Config::load(&file) {
        Ok(config) => assert!(!config.groups.is_empty()),
        Err(error) => assert!(!error.problem.is_empty() && !error.to_string().is_empty()),
    }
});
