//! The owners of paths, with the next step of those who write recipes.

use stub::bundle::places::{Places, check_name, check_path};
use stub::bundle::{BundlePath, Name};
use stub::error::{Context as _, Result};

/// Gives paths to a component, unless one of them is outside the tree or taken.
pub(crate) fn claim_all<'a>(
    places: &mut Places<'a>,
    owner: &'a Name,
    paths: impl Iterator<Item = &'a BundlePath>,
) -> Result<()> {
    check_name(owner).hint(|| "give the recipe's file another name".to_owned())?;
    places.claim_all(owner, paths).hint(change)
}

/// Whether a path lies in one of the directories that a component may have.
pub(super) fn in_tree(path: &BundlePath) -> Result<()> {
    check_path(path).hint(change)
}

fn change() -> String {
    "change `to` in the recipe".to_owned()
}
