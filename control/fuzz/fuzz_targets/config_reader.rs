//! Any octets as a configuration: every value is asked for as everything that it could be. Nothing panics,
//! and every error lies inside the text.

#![no_main]

use std::path::Path;

use getvpn_config::{ConfigError, Document, Section, Value, selector};
use libfuzzer_sys::fuzz_target;

/// The keys that are asked for, and how deep tables are followed.
const KEYS: [&str; 6] = ["a", "group", "sa", "src", "dst", "protocol"];
const MAX_DEPTH: u8 = 4;

fuzz_target!(|octets: &[u8]| {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let lines = text.lines().count().max(1) + 1;
    let check = |error: ConfigError| {
        let (line, column) = error.at.unwrap();
        assert!(line <= lines && column <= text.len() + 1 && !error.to_string().is_empty());
    };
    match Document::parse(Path::new("fuzz.toml"), text) {
        Ok(document) => section(&document.root(), 0, &check),
        Err(error) => check(error),
    }
});

fn section(section: &Section<'_>, depth: u8, check: &impl Fn(ConfigError)) {
    if depth == MAX_DEPTH {
        return;
    }
    section.only(&KEYS).err().into_iter().for_each(check);
    selector::read(section).err().into_iter().for_each(check);
    for key in KEYS {
        section.need(key, "something").err().into_iter().for_each(check);
        section.tables(key).err().into_iter().for_each(check);
        if let Some(found) = section.get(key) {
            value(&found, depth + 1, check);
        }
    }
}

fn value(found: &Value<'_>, depth: u8, check: &impl Fn(ConfigError)) {
    found.string("a name").err().into_iter().for_each(check);
    found.text("a text").err().into_iter().for_each(check);
    found.integer::<u16>(1..=70_000, "a number").err().into_iter().for_each(check);
    found.choice_of_numbers(&[1u32, 7], "a number").err().into_iter().for_each(check);
    found.choice(&[("drop", 1), ("bypass", 2)]).err().into_iter().for_each(check);
    check(found.error_within(usize::from(depth), "wrong"));
    match found.items() {
        Ok(items) => items.iter().for_each(|item| value(item, depth + 1, check)),
        Err(error) => check(error),
    }
    match found.section() {
        Ok(table) => section(&table, depth, check),
        Err(error) => check(error),
    }
}
