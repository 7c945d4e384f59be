//! What a configuration must not say twice. Read at a daemon's start; no I/O.

use crate::error::ConfigError;
use crate::reader::{Place, Value};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// What was said already, with the place of the first time.
#[derive(Clone, Debug)]
pub struct Unique<T>(HashMap<T, Place>);

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Hash + Eq> Unique<T> {
    /// Takes `what` for `value`; `shown` names it in the error, such as `a group "finance"`.
    ///
    /// # Errors
    /// When it was taken before.
    pub fn claim(&mut self, value: &Value<'_>, what: T, shown: &str) -> Result<(), ConfigError> {
        match self.0.entry(what) {
            Entry::Vacant(place) => {
                place.insert(value.place());
                Ok(())
            }
            Entry::Occupied(first) => Err(value.error(format!(
                "there is {shown} already, in line {}; use another or remove one",
                value.line_of(*first.get())
            ))),
        }
    }
}
