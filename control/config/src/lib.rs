//! How both daemons read their configuration: TOML, key by key, each error with file, line, column,
//! key, what is wrong and what would be right. Knows TOML and files, not what a daemon does.
//!
//! Where to begin: [`read`] fetches the text, [`Document`] parses it, [`Section`] and [`Value`] give out
//! what is in it.

pub mod credentials;
mod document;
mod error;
pub mod files;
pub mod interface;
pub mod level;
pub mod logging;
pub mod metrics;
pub mod protocol;
pub mod psk;
mod reader;
pub mod selector;
pub mod service;
pub mod socket;
#[cfg(test)]
mod tests;
mod unique;

pub use document::{Document, read};
pub use error::{ConfigError, Source};
pub use reader::{Place, Section, Value};
pub use selector::Selector;
pub use unique::Unique;
