//! What is on disk of the reservations: one small file, replaced as a whole and made durable before
//! anyone relies on it. Written by the control thread at start and stop and by one helper thread in
//! between; never read again after the start.
//!
//! The file, `counters.json`, is a line of JSON and the SHA-256 of that line in hex, each with its
//! newline:
//!
//! ```text
//! {"version":1,"keys":{"5f2c...":{"0":8388609,"1":8388609}}}
//! 93b1...
//! ```
//!
//! For each key (by fingerprint) and sender ID it holds the first counter that is not reserved.

use ring::digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const FILE: &str = "counters.json";
const TEMPORARY: &str = "counters.json.new";
const LOCK: &str = "lock";
const VERSION: u32 = 1;

/// For each key and sender ID the first counter that is not reserved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    version: u32,
    pub keys: BTreeMap<Fingerprint, BTreeMap<u32, u64>>,
}

/// The SHA-256 of a key, in hex. IVs must be unique under a key, whichever SPI and transform it is
/// used with, so those are not part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a cipher key with its salt, or of an integrity key where there is no cipher.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"getvpn IV reservation\0");
        context.update(key);
        Self(hex(context.finish().as_ref()))
    }

    /// Its first eight digits.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or_default()
    }
}

/// Why the reservations cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be made or used.
    #[error("state directory {0}: {1}; set [control] state to a directory that this user can write")]
    Directory(PathBuf, io::Error),
    /// Others could change it.
    #[error("state directory {0}: others may write it (mode {1:04o}); do `chmod go-w {0}`")]
    OpenToOthers(PathBuf, u32),
    /// Another member has it.
    #[error(
        "state directory {0}: another getvpn-gm is using it; stop that one, or give each its own [control] state"
    )]
    InUse(PathBuf),
    /// The file cannot be read.
    #[error("{0}: cannot be read: {1}; {WHY}")]
    Unreadable(PathBuf, io::Error),
    /// The file is not what was written.
    #[error("{0}: damaged ({1}); {WHY}")]
    Damaged(PathBuf, String),
    /// The file cannot be written.
    #[error("{0}: cannot be written: {1}; sealing needs it, so free space or set [control] state elsewhere")]
    Unwritable(PathBuf, io::Error),
}

const WHY: &str = "it says which IVs have been used, and using one twice would break the keys: restore the \
                   file, or give every manual SA a new key and then remove it";

/// The directory, held for as long as this lives.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    _lock: File,
}

impl Store {
    /// Takes the directory, mode 0700, and reads what is there.
    pub fn open(directory: &Path) -> Result<(Self, Table), StateError> {
        let broken = |e| StateError::Directory(directory.to_owned(), e);
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(broken)?;
        let mode = fs::metadata(directory).map_err(broken)?.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(StateError::OpenToOthers(directory.to_owned(), mode));
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(directory.join(LOCK)).map_err(broken)?;
        lock.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => StateError::InUse(directory.to_owned()),
            TryLockError::Error(e) => broken(e),
        })?;
        let table = read(&directory.join(FILE))?;
        Ok((Self { directory: directory.to_owned(), _lock: lock }, table))
    }

    /// Replaces the file; when this returns, a power cut does not bring the old one back.
    pub fn write(&self, table: &Table) -> Result<(), StateError> {
        let path = self.directory.join(FILE);
        let temporary = self.directory.join(TEMPORARY);
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.create(true).truncate(true).write(true).mode(0o600);
            let mut file = options.open(&temporary)?;
            file.write_all(encode(table)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|e| StateError::Unwritable(path.clone(), e))
    }
}

fn read(path: &Path) -> Result<Table, StateError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        // The first start. What a crash left of a first write was never relied upon.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Ok(Table { version: VERSION, keys: BTreeMap::new() });
        }
        Err(e) => return Err(StateError::Unreadable(path.to_owned(), e)),
    };
    decode(&text).map_err(|problem| StateError::Damaged(path.to_owned(), problem))
}

fn encode(table: &Table) -> io::Result<String> {
    let line = serde_json::to_string(table)?;
    let sum = hex(digest::digest(&digest::SHA256, line.as_bytes()).as_ref());
    Ok(format!("{line}\n{sum}\n"))
}

fn decode(text: &[u8]) -> Result<Table, String> {
    let text = std::str::from_utf8(text).map_err(|_| "not text".to_owned())?;
    let lines: Option<(&str, &str)> = text.strip_suffix('\n').and_then(|text| text.split_once('\n'));
    let Some((line, sum)) = lines else { return Err("cut short".into()) };
    if sum != hex(digest::digest(&digest::SHA256, line.as_bytes()).as_ref()) {
        return Err("its checksum is wrong".into());
    }
    let table: Table = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if table.version != VERSION {
        return Err(format!("version {}, and this program knows version {VERSION}", table.version));
    }
    Ok(table)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Table {
        let counters = BTreeMap::from([(0, 8_388_609), (1, u64::MAX)]);
        Table { version: VERSION, keys: BTreeMap::from([(Fingerprint::of(b"key"), counters)]) }
    }

    #[test]
    fn what_is_written_is_read_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let (store, table) = Store::open(&state).unwrap();
        assert!(table.keys.is_empty());
        store.write(&sample()).unwrap();
        drop(store);
        assert_eq!(Store::open(&state).unwrap().1, sample());
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn two_members_cannot_have_the_same_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StateError::InUse(_)), "{error}");
        drop(first);
        assert!(Store::open(dir.path()).is_ok());
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("do `chmod go-w "), "{error}");
    }

    #[test]
    fn a_file_that_is_no_directory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        fs::write(&file, "").unwrap();
        let error = Store::open(&file).unwrap_err().to_string();
        assert!(error.contains("set [control] state"), "{error}");
    }

    #[test]
    fn a_file_of_another_version_or_kind_is_refused() {
        for line in ["{\"version\":2,\"keys\":{}}", "{\"version\":1,\"keys\":{},\"more\":1}", "[]"] {
            let sum = hex(digest::digest(&digest::SHA256, line.as_bytes()).as_ref());
            assert!(decode(format!("{line}\n{sum}\n").as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn half_a_first_write_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(TEMPORARY), "{\"version\":1,").unwrap();
        let (store, table) = Store::open(dir.path()).unwrap();
        assert!(table.keys.is_empty());
        store.write(&sample()).unwrap();
    }

    proptest! {
        #[test]
        fn any_change_of_the_file_is_noticed(at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<bool>()) {
            let good = encode(&sample()).unwrap().into_bytes();
            let at = at.index(good.len());
            let mut bad = good.clone();
            if cut { bad.truncate(at) } else { bad[at] = with }
            prop_assume!(bad != good);
            prop_assert!(decode(&bad).is_err());
        }
    }
}
