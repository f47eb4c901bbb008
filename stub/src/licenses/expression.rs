//! SPDX licence expressions, as of annex D of the SPDX specification 2.3. The builder has checked all that are in a bundle.

/// The identifiers of all licences and exceptions in an expression such as
/// `MIT OR (Apache-2.0 WITH LLVM-exception AND BSD-3-Clause)`, in its order.
pub fn identifiers(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| c.is_whitespace() || "()".contains(c))
        .filter(|word| !matches!(*word, "" | "AND" | "OR" | "WITH"))
}

/// Whether one of the licences requires that programs are passed on with an offer of their source code.
pub(super) fn wants_source(expression: &str) -> bool {
    identifiers(expression).any(|id| {
        ["AGPL-", "GPL-", "LGPL-", "MPL-"]
            .iter()
            .any(|prefix| id.starts_with(prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_of_licences_and_exceptions() {
        for (text, ids) in [
            ("MIT", &["MIT"][..]),
            (
                "Apache-2.0 WITH LLVM-exception OR (Apache-2.0 AND MIT)",
                &["Apache-2.0", "LLVM-exception", "Apache-2.0", "MIT"],
            ),
            ("((0BSD) OR ISC)AND GPL-2.0+", &["0BSD", "ISC", "GPL-2.0+"]),
        ] {
            let found: Vec<_> = identifiers(text).collect();
            assert_eq!(found, ids, "{text}");
        }
    }

    #[test]
    fn which_licences_want_source() {
        for (text, wants) in [
            ("MIT OR Apache-2.0", false),
            ("MIT AND LGPL-2.1-only", true),
            ("GPL-3.0+", true),
        ] {
            assert_eq!(wants_source(text), wants, "{text}");
        }
    }
}
