//! SPDX licence expressions, as of annex D of the SPDX specification 2.3.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};

/// A licence expression that is well formed. Whether its identifiers are on SPDX's list is not looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    licenses: BTreeSet<String>,
    exceptions: BTreeSet<String>,
}

impl Expression {
    /// Reads an expression such as `MIT OR (Apache-2.0 WITH LLVM-exception AND BSD-3-Clause)`.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser::new(text);
        let mut expression = Self {
            licenses: BTreeSet::new(),
            exceptions: BTreeSet::new(),
        };
        let good = parser.alternatives(&mut expression, 0).is_some() && parser.words.is_empty();
        if good {
            return Ok(expression);
        }
        Err(Error::new(
            Kind::Input,
            format!("`{text}` is no SPDX licence expression"),
        )
        .hint(
            "write it like `Apache-2.0` or `GPL-2.0-or-later AND MIT`: https://spdx.org/licenses",
        ))
    }

    /// The identifiers of all licences in it, sorted.
    pub fn licenses(&self) -> impl Iterator<Item = &str> {
        self.licenses.iter().map(String::as_str)
    }

    /// The identifiers of all exceptions in it, sorted.
    pub fn exceptions(&self) -> impl Iterator<Item = &str> {
        self.exceptions.iter().map(String::as_str)
    }

    /// Whether one of the licences requires that programs are passed on with an offer of their source code.
    #[must_use]
    pub fn wants_source(&self) -> bool {
        self.licenses().any(|id| {
            ["AGPL-", "GPL-", "LGPL-", "MPL-"]
                .iter()
                .any(|p| id.starts_with(p))
        })
    }
}

/// No real licence is nested deeper.
const MAX_DEPTH: usize = 16;

/// A recursive descent over the words not read yet, the next one last.
struct Parser<'a> {
    words: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut words = Vec::new();
        for mut word in text.split_ascii_whitespace() {
            while let Some(at) = word.find(['(', ')']) {
                words.extend([&word[..at], &word[at..=at]]);
                word = &word[at + 1..];
            }
            words.push(word);
        }
        words.retain(|word| !word.is_empty());
        words.reverse();
        Self { words }
    }

    /// Takes the next word if it is this one.
    fn take(&mut self, word: &str) -> bool {
        let next = self.words.last() == Some(&word);
        if next {
            self.words.pop();
        }
        next
    }

    fn alternatives(&mut self, into: &mut Expression, depth: usize) -> Option<()> {
        self.together(into, depth)?;
        while self.take("OR") {
            self.together(into, depth)?;
        }
        Some(())
    }

    fn together(&mut self, into: &mut Expression, depth: usize) -> Option<()> {
        self.one(into, depth)?;
        while self.take("AND") {
            self.one(into, depth)?;
        }
        Some(())
    }

    fn one(&mut self, into: &mut Expression, depth: usize) -> Option<()> {
        if self.take("(") {
            if depth == MAX_DEPTH {
                return None;
            }
            self.alternatives(into, depth + 1)?;
            return self.take(")").then_some(());
        }
        let license = self.identifier()?;
        into.licenses.insert(license.to_owned());
        if self.take("WITH") {
            let exception = self.identifier()?;
            into.exceptions.insert(exception.to_owned());
        }
        Some(())
    }

    fn identifier(&mut self) -> Option<&'a str> {
        let word = self.words.pop()?;
        let stem = word.strip_suffix('+').unwrap_or(word);
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-.".contains(&c);
        let operator = matches!(word, "AND" | "OR" | "WITH");
        (!stem.is_empty() && stem.bytes().all(plain) && !operator).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Vec<String>, Vec<String>) {
        let expression = Expression::parse(text).unwrap();
        let owned = |s: &str| s.to_owned();
        (
            expression.licenses().map(owned).collect(),
            expression.exceptions().map(owned).collect(),
        )
    }

    #[test]
    fn good_expressions() {
        assert_eq!(parts("MIT"), (vec!["MIT".to_owned()], vec![]));
        assert_eq!(
            parts("Apache-2.0 WITH LLVM-exception OR (Apache-2.0 AND MIT)"),
            (
                vec!["Apache-2.0".to_owned(), "MIT".to_owned()],
                vec!["LLVM-exception".to_owned()]
            )
        );
        for good in [
            "( MIT )",
            "((MIT))",
            "GPL-2.0+ AND ISC OR 0BSD",
            "(A OR B) AND C",
        ] {
            assert!(Expression::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn bad_expressions_are_named() {
        let deep = format!("{}MIT{}", "(".repeat(17), ")".repeat(17));
        for bad in [
            "",
            "()",
            "AND",
            "MIT AND",
            "MIT OR OR ISC",
            "MIT ISC",
            "(MIT",
            "MIT)",
            "MIT/Apache-2.0",
            "MIT WITH",
            "(MIT) WITH LLVM-exception",
            "MIT, ISC",
            "+",
            "MIT++",
            "MIT and ISC",
            "A WITH B WITH C",
            ")MIT(",
            &deep,
        ] {
            let error = Expression::parse(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
    }

    #[test]
    fn which_licences_want_source() {
        for (text, wants) in [
            ("MIT OR Apache-2.0", false),
            ("MIT AND LGPL-2.1-only", true),
            ("GPL-3.0+", true),
        ] {
            assert_eq!(
                Expression::parse(text).unwrap().wants_source(),
                wants,
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[A-D()+ ]{0,40}|.{0,40}") {
            let _ = Expression::parse(&text);
        }
    }
}
