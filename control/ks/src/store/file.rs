//! The store of a running key server: one redb file in a directory of its own. Store thread. The
//! directory has mode 0700 and the file 0600, because there are keys in it.

use super::{Store, StoreError};
use crate::core::Change;
use crate::core::record::{Key, Record, SCHEMA};
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError,
};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const FILE: &str = "ks.redb";
const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Records in a file.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    database: Database,
}

impl FileStore {
    /// Opens the store in a directory; makes both when they are not there.
    ///
    /// # Errors
    /// When others may use the directory or the file, another process does, or what is there is no store
    /// of this version.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        make_directory(directory)?;
        let path = directory.join(FILE);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|e| failed(&path, &e))?;
        closed_to_others(&path, "0600")?;
        let is_new = file.metadata().map_err(|e| failed(&path, &e))?.len() == 0;
        drop(file);
        let database = Database::builder().create(&path).map_err(|e| match e {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.clone() },
            e => damaged(&path, &e),
        })?;
        let store = Self { path, database };
        if is_new {
            store.begin()?;
        }
        store.check_schema()?;
        Ok(store)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn begin(&self) -> Result<(), StoreError> {
        let failed = |e: &dyn std::fmt::Display| failed(&self.path, e);
        let transaction = self.database.begin_write().map_err(|e| failed(&e))?;
        {
            let mut meta = transaction.open_table(META).map_err(|e| failed(&e))?;
            meta.insert("schema", SCHEMA).map_err(|e| failed(&e))?;
            transaction.open_table(RECORDS).map_err(|e| failed(&e))?;
        }
        transaction.commit().map_err(|e| failed(&e))
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        let transaction = self.database.begin_read().map_err(|e| failed(&self.path, &e))?;
        let meta = match transaction.open_table(META) {
            Ok(meta) => meta,
            // A first start that was cut short: there is nothing in it.
            Err(TableError::TableDoesNotExist(_)) => return self.begin(),
            Err(e) => return Err(damaged(&self.path, &e)),
        };
        let found = meta.get("schema").map_err(|e| damaged(&self.path, &e))?.map(|schema| schema.value());
        match found {
            Some(SCHEMA) => Ok(()),
            found => {
                let (path, found) = (self.path.clone(), found.unwrap_or(0));
                Err(StoreError::Schema { path, found, expected: SCHEMA })
            }
        }
    }
}

impl Store for FileStore {
    fn load(&mut self) -> Result<Vec<(Key, Record)>, StoreError> {
        let damaged = |e: &dyn std::fmt::Display| damaged(&self.path, e);
        let transaction = self.database.begin_read().map_err(|e| damaged(&e))?;
        let records = transaction.open_table(RECORDS).map_err(|e| damaged(&e))?;
        let mut all = Vec::new();
        for entry in records.iter().map_err(|e| damaged(&e))? {
            let (key, record) = entry.map_err(|e| damaged(&e))?;
            let key = Key::decode(key.value()).map_err(|e| damaged(&e))?;
            all.push((key, Record::decode(record.value()).map_err(|e| damaged(&e))?));
        }
        Ok(all)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let failed = |e: &dyn std::fmt::Display| failed(&self.path, e);
        let mut transaction = self.database.begin_write().map_err(|e| failed(&e))?;
        transaction.set_durability(Durability::Immediate).map_err(|e| failed(&e))?;
        {
            let mut records = transaction.open_table(RECORDS).map_err(|e| failed(&e))?;
            for change in changes {
                let key = change.key.encode();
                match &change.record {
                    Some(record) => {
                        records.insert(key.as_slice(), record.encode().as_slice()).map_err(|e| failed(&e))?
                    }
                    None => records.remove(key.as_slice()).map_err(|e| failed(&e))?,
                };
            }
        }
        transaction.commit().map_err(|e| failed(&e))
    }
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => closed_to_others(directory, "0700"),
        Err(problem) => Err(StoreError::Directory { path: directory.to_owned(), problem }),
    }
}

fn closed_to_others(path: &Path, mode: &'static str) -> Result<(), StoreError> {
    let metadata = fs::metadata(path).map_err(|e| failed(path, &e))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(StoreError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

fn failed(path: &Path, problem: &dyn std::fmt::Display) -> StoreError {
    StoreError::Failed { path: path.to_owned(), problem: problem.to_string() }
}

fn damaged(path: &Path, problem: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), problem: problem.to_string() }
}
