//! Reads a parsed TOML document key by key; every error knows its place and its key. Read
//! at a daemon's start; no I/O. Knows TOML's types, not what a key means.

use crate::error::{ConfigError, Source};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// A table of the document, with the keys that it may have.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    source: Source<'a>,
    path: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Section<'a> {
    /// The document's top.
    #[must_use]
    pub fn root(source: Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self { source, path: String::new(), table, span: 0..0 }
    }

    /// Refuses any key but these, the first in the file first.
    ///
    /// # Errors
    /// When there is another key.
    pub fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        let unknown = self.table.iter().map(|(key, _)| key).filter(|key| !known.contains(&&**key.get_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let name = key.get_ref();
        let place = if self.path.is_empty() { "here".into() } else { format!("in {}", self.path) };
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known {place}: {}", known.join(", ")),
        };
        let problem = format!("there is no key `{name}` {place}; {hint}");
        Err(self.source.error(key.span().start, &self.path_of(name), problem))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let value = self.table.get(key)?;
        Some(Value {
            source: self.source,
            key: self.path_of(key),
            value: value.get_ref(),
            span: value.span(),
        })
    }

    /// The value of a key that must be there; `what` says what it is.
    ///
    /// # Errors
    /// When it is not.
    pub fn need(&self, key: &str, what: &str) -> Result<Value<'a>, ConfigError> {
        self.get(key).ok_or_else(|| self.missing(key, what))
    }

    /// The error of a key that must be there and is not.
    #[must_use]
    pub fn missing(&self, key: &str, what: &str) -> ConfigError {
        self.source.error(self.span.start, &self.path_of(key), format!("missing; give {what}"))
    }

    /// The table of a key.
    ///
    /// # Errors
    /// When the value is no table.
    pub fn table(&self, key: &str) -> Result<Option<Section<'a>>, ConfigError> {
        self.get(key).map(|value| value.section()).transpose()
    }

    /// The tables of a key that is written `[[key]]`; none when it is absent.
    ///
    /// # Errors
    /// When the value is something else.
    pub fn tables(&self, key: &str) -> Result<Vec<Section<'a>>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        match value.value {
            DeValue::Array(_) => value.items()?.iter().map(Value::section).collect(),
            DeValue::Table(_) => {
                Err(value.error(format!("there can be several; write [[{0}]] instead of [{0}]", value.key)))
            }
            _ => Err(value.wrong_kind(&format!("tables, each written [[{}]]", value.key))),
        }
    }

    /// An error about the section as a whole.
    #[must_use]
    pub fn error(&self, problem: impl Into<String>) -> ConfigError {
        self.source.error(self.span.start, &self.path, problem)
    }

    /// The line that the section starts in.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.line(self.span.start)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Where a value starts.
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    source: Source<'a>,
    key: String,
    value: &'a DeValue<'a>,
    span: Range<usize>,
}

impl<'a> Value<'a> {
    /// An error about this value.
    #[must_use]
    pub fn error(&self, problem: impl Into<String>) -> ConfigError {
        self.source.error(self.span.start, &self.key, problem)
    }

    /// An error about the character at `octet` of a string's value.
    #[must_use]
    pub fn error_within(&self, octet: usize, problem: impl Into<String>) -> ConfigError {
        // Where the text between the quotes is not the value (escapes), the start must do.
        let plain = self.value.as_str().is_some_and(|s| s.len() + 2 == self.span.len());
        let offset = if plain { self.span.start + 1 + octet } else { self.span.start };
        self.source.error(offset, &self.key, problem)
    }

    /// Where the value is, to be told as a line when it must be: to count lines for each of thousands of
    /// values takes seconds.
    #[must_use]
    pub fn place(&self) -> Place {
        Place(self.span.start)
    }

    /// The line of the place of another value of the same file.
    #[must_use]
    pub fn line_of(&self, place: Place) -> usize {
        self.source.line(place.0)
    }

    /// A string that is not empty.
    ///
    /// # Errors
    /// When the value is something else.
    pub fn string(&self, what: &str) -> Result<&'a str, ConfigError> {
        match self.value.as_str() {
            Some("") => Err(self.error(format!("expected {what}, found an empty string"))),
            Some(text) => Ok(text),
            None => Err(self.wrong_kind(what)),
        }
    }

    /// A string that may be empty.
    ///
    /// # Errors
    /// When the value is no string.
    pub fn text(&self, what: &str) -> Result<&'a str, ConfigError> {
        self.value.as_str().ok_or_else(|| self.wrong_kind(what))
    }

    /// An integer within a range.
    ///
    /// # Errors
    /// When the value is no integer, or one outside the range.
    pub fn integer<T>(&self, range: RangeInclusive<u64>, what: &str) -> Result<T, ConfigError>
    where
        T: TryFrom<u64>,
    {
        let Some(integer) = self.value.as_integer() else { return Err(self.wrong_kind(what)) };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|n| range.contains(n)).and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            let written = &self.source.text[self.span.clone()];
            self.error(format!("expected {what} from {from} to {to}, found {written}"))
        })
    }

    /// One of several numbers.
    ///
    /// # Errors
    /// When the value is none of them.
    pub fn choice_of_numbers<T>(&self, numbers: &[T], what: &str) -> Result<T, ConfigError>
    where
        T: Copy + PartialEq + TryFrom<u64> + std::fmt::Display,
    {
        let listed: Vec<String> = numbers.iter().map(T::to_string).collect();
        let number = self.integer::<u64>(0..=u64::from(u32::MAX), what)?;
        let known = T::try_from(number).ok().filter(|n| numbers.contains(n));
        known.ok_or_else(|| self.error(format!("expected {what}: {}, found {number}", listed.join(", "))))
    }

    /// Whether this is an integer, for keys that take something else too.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// One of several words.
    ///
    /// # Errors
    /// When the value is none of them.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let names: Vec<&str> = words.iter().map(|&(name, _)| name).collect();
        let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        let what = match quoted.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => quoted.concat(),
        };
        let word = self.text(&what)?;
        words.iter().find(|&&(name, _)| name == word).map(|&(_, value)| value).ok_or_else(|| {
            let hint = nearest(word, &names).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
            self.error(format!("expected {what}, found {word:?}{hint}"))
        })
    }

    /// Whether something is so.
    ///
    /// # Errors
    /// When the value is no boolean.
    pub fn boolean(&self) -> Result<bool, ConfigError> {
        self.value.as_bool().ok_or_else(|| self.wrong_kind("true or false"))
    }

    /// A whole number of seconds within a range.
    ///
    /// # Errors
    /// When the value is no integer, or one outside the range.
    pub fn seconds(&self, range: RangeInclusive<u32>, what: &str) -> Result<Duration, ConfigError> {
        let range = u64::from(*range.start())..=u64::from(*range.end());
        self.integer(range, &format!("{what} in seconds")).map(Duration::from_secs)
    }

    /// The items of an array, or the value itself when it is none.
    #[must_use]
    pub fn one_or_several(&self) -> Vec<Value<'a>> {
        self.items().unwrap_or_else(|_| vec![self.clone()])
    }

    /// The items of an array; errors about them name the array's key.
    ///
    /// # Errors
    /// When the value is no array.
    pub fn items(&self) -> Result<Vec<Value<'a>>, ConfigError> {
        let Some(array) = self.value.as_array() else { return Err(self.wrong_kind("an array [...]")) };
        let item = |item: &'a toml::Spanned<DeValue<'a>>| Value {
            source: self.source,
            key: self.key.clone(),
            value: item.get_ref(),
            span: item.span(),
        };
        Ok(array.iter().map(item).collect())
    }

    /// A table, written as a section or inline.
    ///
    /// # Errors
    /// When the value is no table.
    pub fn section(&self) -> Result<Section<'a>, ConfigError> {
        let Some(table) = self.value.as_table() else {
            return Err(self.wrong_kind("a table { key = value, ... }"));
        };
        Ok(Section { source: self.source, path: self.key.clone(), table, span: self.span.clone() })
    }

    /// An error that never shows the value, which may be a key.
    fn wrong_kind(&self, what: &str) -> ConfigError {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.error(format!("expected {what}, found {found}"))
    }
}

/// The word that was most likely meant, if any comes near.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let similarity = |candidate: &str| {
        // The first is good at endings that differ, the second at short words.
        strsim::jaro_winkler(word, candidate)
            .max(strsim::normalized_damerau_levenshtein(word, candidate) + 0.15)
    };
    let best = known.iter().copied().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(best) > 0.8).then_some(best)
}
