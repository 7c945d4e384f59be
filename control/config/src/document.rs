//! A configuration file as a whole: fetched, decoded and parsed. Read at a daemon's start.

use crate::error::{ConfigError, Source};
use crate::reader::Section;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use toml::Spanned;
use toml::de::DeTable;
use zeroize::Zeroizing;

/// The text of a configuration file, which may hold keys.
///
/// # Errors
/// When the file cannot be read or is not UTF-8.
pub fn read(file: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let octets = fs::read(file).map(Zeroizing::new).map_err(|e| {
        let problem = match e.kind() {
            ErrorKind::NotFound => "no such file; name the configuration with --config".into(),
            ErrorKind::PermissionDenied => "may not be read by this user; chown or chmod it".into(),
            _ => format!("cannot be read: {e}"),
        };
        ConfigError { file: file.to_owned(), at: None, key: String::new(), problem }
    })?;
    let text = std::str::from_utf8(&octets).map_err(|e| {
        let valid = String::from_utf8_lossy(&octets[..e.valid_up_to()]);
        let source = Source { file, text: &valid };
        source.error(valid.len(), "", "not UTF-8; save the file in that encoding")
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A configuration's text, parsed as TOML.
#[derive(Debug)]
pub struct Document<'a> {
    source: Source<'a>,
    table: Spanned<DeTable<'a>>,
}

impl<'a> Document<'a> {
    /// Parses the text of `file`.
    ///
    /// # Errors
    /// When the text is no TOML.
    pub fn parse(file: &'a Path, text: &'a str) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let table = DeTable::parse(text).map_err(|e| {
            let offset = e.span().map_or(0, |span| span.start);
            source.error(offset, "", format!("no TOML: {}", e.message()))
        })?;
        Ok(Self { source, table })
    }

    /// The document's top.
    #[must_use]
    pub fn root(&'a self) -> Section<'a> {
        Section::root(self.source, self.table.get_ref())
    }

    /// Where a relative path in the file starts: the directory that the file is in.
    #[must_use]
    pub fn base(&self) -> &'a Path {
        self.source.file.parent().unwrap_or(Path::new(""))
    }
}
