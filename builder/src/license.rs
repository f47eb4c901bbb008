//! Licences in recipes and crates: expressions of SPDX, with identifiers on its list.

use stub::error::{Error, Kind, Result};
use stub::licenses::identifiers;

/// Checks an expression such as `GPL-2.0-or-later AND MIT`.
pub(crate) fn check(text: &str) -> Result<()> {
    let (part, reason) = match spdx::Expression::parse(text) {
        Err(error) => (
            text.get(error.span).unwrap_or_default(),
            error.reason.to_string(),
        ),
        // SPDX 3 allows small letters; SBOMs are of SPDX 2.3.
        Ok(_) => match identifiers(text).find(|id| ["and", "or", "with"].contains(id)) {
            Some(word) => (word, "operators have capital letters".to_owned()),
            None => return Ok(()),
        },
    };
    let found = match part.trim() {
        "" => reason,
        part => format!("`{part}`: {reason}"),
    };
    let what = format!("`{text}` is no SPDX licence expression");
    Err(Error::new(Kind::Input, what).found(found).hint(
        "write it like `Apache-2.0` or `GPL-2.0-or-later AND MIT`: https://spdx.org/licenses",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_expressions() {
        for good in [
            "MIT",
            "Apache-2.0 WITH LLVM-exception OR (Apache-2.0 AND MIT)",
            "( MIT )",
            "((MIT))",
            "GPL-2.0-or-later AND ISC OR 0BSD",
            "LicenseRef-mine",
        ] {
            check(good).unwrap();
        }
    }

    #[test]
    fn bad_expressions_are_named() {
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
            "MIT WITH LLVM-exception WITH LLVM-exception",
            ")MIT(",
        ] {
            let error = check(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
        // A long one must not need a large stack.
        let deep = format!("{}MIT", "(".repeat(100_000));
        assert!(check(&deep).is_err());
        insta::assert_snapshot!(check("MIT OR Apache2").unwrap_err(), @r"
        `MIT OR Apache2` is no SPDX licence expression
          found  `Apache2`: unknown term

        hint: write it like `Apache-2.0` or `GPL-2.0-or-later AND MIT`: https://spdx.org/licenses
        ");
        insta::assert_snapshot!(check("MIT and ISC").unwrap_err(), @r"
        `MIT and ISC` is no SPDX licence expression
          found  `and`: operators have capital letters

        hint: write it like `Apache-2.0` or `GPL-2.0-or-later AND MIT`: https://spdx.org/licenses
        ");
        insta::assert_snapshot!(check("(MIT OR ISC").unwrap_err(), @r"
        `(MIT OR ISC` is no SPDX licence expression
          found  `(`: unclosed parens

        hint: write it like `Apache-2.0` or `GPL-2.0-or-later AND MIT`: https://spdx.org/licenses
        ");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "(MIT|ISC|AND|WITH|[()+ ]){0,40}|.{0,40}") {
            let _ = check(&text);
        }
    }
}
