//! Whether a bundle may take the place of an installed one.

use super::Verdict;
use crate::error::{Error, Kind, Result};

/// Refuses to go from a signed bundle to one that is not, or that another key signed, unless forced.
///
/// A signature that is wrong does not come this far: [`check`](super::check) is an error then.
pub fn may_replace(installed: &Verdict, new: &Verdict, force: bool) -> Result<()> {
    let Verdict::Signed { key, .. } = installed else {
        return Ok(());
    };
    let found = match new {
        Verdict::Signed { key: other, .. } if other == key => return Ok(()),
        _ if force => return Ok(()),
        Verdict::Signed { key: other, .. } => format!("signed by the key {other}"),
        Verdict::Unsigned => "no signature".to_owned(),
        Verdict::Unchecked => "a signature, but no key to check it with".to_owned(),
    };
    let next = match new {
        Verdict::Unchecked => "name the public key that belongs to it with `--key`",
        _ => "put the `.minisig` file of the release beside the bundle",
    };
    Err(Error::new(
        Kind::Integrity,
        "the installed bundle was signed, but the new one does not have the same origin",
    )
    .expected(format!("signed by the key {key}"))
    .found(found)
    .hint(format!(
        "{next}; if you trust the bundle anyway, use `--force`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(key: &str) -> Verdict {
        Verdict::Signed {
            key: key.to_owned(),
            comment: String::new(),
        }
    }

    #[test]
    fn what_was_signed_stays_signed_by_the_same_key() {
        let all = [
            signed("A"),
            signed("B"),
            Verdict::Unsigned,
            Verdict::Unchecked,
        ];
        for new in &all {
            let same = *new == signed("A");
            assert_eq!(may_replace(&signed("A"), new, false).is_ok(), same, "{new}");
            assert!(may_replace(&signed("A"), new, true).is_ok(), "{new}");
            assert!(may_replace(&Verdict::Unsigned, new, false).is_ok(), "{new}");
            assert!(
                may_replace(&Verdict::Unchecked, new, false).is_ok(),
                "{new}"
            );
        }
    }

    #[test]
    fn the_refusal_names_both() {
        let error = may_replace(&signed("A"), &signed("B"), false).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        insta::assert_snapshot!(error, @r"
        the installed bundle was signed, but the new one does not have the same origin
          expected  signed by the key A
          found     signed by the key B

        hint: put the `.minisig` file of the release beside the bundle; if you trust the bundle anyway, use `--force`
        ");
        let error = may_replace(&signed("A"), &Verdict::Unchecked, false).unwrap_err();
        insta::assert_snapshot!(error, @r"
        the installed bundle was signed, but the new one does not have the same origin
          expected  signed by the key A
          found     a signature, but no key to check it with

        hint: name the public key that belongs to it with `--key`; if you trust the bundle anyway, use `--force`
        ");
    }
}
