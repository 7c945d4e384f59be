use super::*;
use crate::core::ServerTime;
use crate::core::record::Record;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn dead(spi: u32, ms: u64) -> Change {
    let died = ServerTime::ZERO.after(Duration::from_millis(ms));
    Change { key: Key::DeadSpi(spi), record: Some(Record::DeadSpi(died)) }
}

fn spis(store: &mut dyn Store) -> Vec<u32> {
    let spi = |(key, _)| match key {
        Key::DeadSpi(spi) => Some(spi),
        _ => None,
    };
    store.load().unwrap().into_iter().filter_map(spi).collect()
}

#[test]
fn what_was_committed_is_there_after_opening_again_and_removed_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut store = FileStore::open(&path).unwrap();
    assert!(store.load().unwrap().is_empty());
    store.commit(&[dead(700, 1), dead(300, 2)]).unwrap();
    store.commit(&[Change { key: Key::DeadSpi(700), record: None }, dead(500, 3)]).unwrap();
    drop(store);
    assert_eq!(spis(&mut FileStore::open(&path).unwrap()), [300, 500]);
}

#[test]
fn the_directory_is_0700_and_the_file_0600_and_nothing_wider_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let file = FileStore::open(&path).unwrap().path().to_owned();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
    for (what, wrong, right) in [(&file, 0o640, 0o600), (&path, 0o750, 0o700)] {
        fs::set_permissions(what, fs::Permissions::from_mode(wrong)).unwrap();
        let error = FileStore::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 0{right:o} it")), "{error}");
        fs::set_permissions(what, fs::Permissions::from_mode(right)).unwrap();
    }
    FileStore::open(&path).unwrap();
}

#[test]
fn a_second_server_is_told_that_the_store_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let _first = FileStore::open(&path).unwrap();
    let error = FileStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("another key server uses this store"), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_named_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let file = FileStore::open(&path).unwrap().path().to_owned();
    let garbage = vec![0x5a; 9_000];
    fs::write(&file, &garbage).unwrap();
    let error = FileStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("ks.redb"), "{error}");
    assert_eq!(fs::read(&file).unwrap(), garbage);
}

#[test]
fn a_missing_parent_is_named() {
    let error = FileStore::open(Path::new("/nonexistent/parent/store")).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/parent/store"), "{error}");
}

#[test]
fn a_refused_commit_leaves_everything_as_it_was() {
    let mut store = MemoryStore::default();
    store.commit(&[dead(300, 1)]).unwrap();
    store.set_fault(Fault::Refused);
    store.commit(&[dead(400, 1)]).unwrap_err();
    assert_eq!(spis(&mut store), [300]);
    store.set_fault(Fault::WrittenUnnoticed);
    store.commit(&[dead(500, 1)]).unwrap_err();
    assert_eq!(spis(&mut store), [300, 500]);
}

#[test]
fn every_kind_of_key_is_read_as_it_was_written_and_in_order() {
    let keys = [
        Key::Clock,
        Key::Group(1),
        Key::Group(0x0102_0304),
        Key::Tek(7, 256),
        Key::Kek(7, [9; 16]),
        Key::Member(7, 3),
        Key::Member(7, 300),
        Key::DeadSpi(1000),
    ];
    let mut encoded: Vec<_> = keys.iter().map(Key::encode).collect();
    for (key, octets) in keys.iter().zip(&encoded) {
        assert_eq!(Key::decode(octets), Ok(*key));
        assert!(Key::decode(&octets[..octets.len() - 1]).is_err());
    }
    let written = encoded.clone();
    encoded.sort();
    assert_eq!(encoded, written);
}
