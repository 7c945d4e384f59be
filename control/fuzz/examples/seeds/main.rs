//! Writes `seeds/`: what real peers said, each in the form that a target reads it. Run it after a target's
//! form has changed: `cargo run --example seeds`.

mod captures;
mod exchanges;
mod files;
mod phase1;

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    captures::write();
    exchanges::write();
    files::write();
    phase1::write();
}

/// Writes one seed.
fn seed(target: &str, name: &str, octets: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), octets).unwrap();
}

/// A file of `getvpn-gdoi`'s tests.
fn gdoi(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gdoi").join(path)
}

/// Octets behind their length.
fn piece(octets: &[u8]) -> Vec<u8> {
    [&u16::try_from(octets.len()).unwrap().to_be_bytes(), octets].concat()
}
