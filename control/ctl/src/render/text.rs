//! Sentences and lists outside tables, which must not be wider than tables are.

use super::{L, cell, plain};

/// A sentence, in as many lines as it takes; without a newline at its end.
pub(super) fn sentence(text: &str) -> String {
    lines(text, 0)
}

/// A sentence that is indented, as one of several.
pub(super) fn item(text: &str) -> String {
    lines(text, 2)
}

fn lines(text: &str, indent: u16) -> String {
    let mut one = plain();
    one.add_row(vec![cell(text, L)]);
    for column in one.column_iter_mut() {
        column.set_padding((indent, 0));
    }
    let lines: Vec<String> = one.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_broken_between_words_and_a_word_that_is_too_long_within() {
        assert_eq!(sentence("short"), "short");
        assert_eq!(item("short"), "  short");
        let long = sentence(&"word ".repeat(30));
        assert_eq!(long.lines().count(), 2, "{long}");
        assert!(long.lines().all(|line| line.len() <= 100 && line.ends_with("word")), "{long}");
        let line = sentence(&"x".repeat(150));
        assert!(line.lines().all(|line| line.len() <= 100), "{line}");
        assert_eq!(line.matches('x').count(), 150);
    }
}
