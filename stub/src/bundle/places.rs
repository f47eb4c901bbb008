//! The owners of paths: all components are joined into one tree, so each path has one owner.

use std::collections::BTreeMap;

use super::{BundlePath, Name, STUB_COMPONENT, TOP_DIRECTORIES};
use crate::error::{Error, Kind, Result};

/// The paths that are taken, and by which component. Recipes, lockfiles and manifests are checked with this one rule.
#[derive(Debug, Default)]
pub struct Places<'a>(BTreeMap<&'a str, &'a Name>);

impl<'a> Places<'a> {
    /// Gives paths to a component, unless one of them is outside the tree or taken.
    pub fn claim_all(
        &mut self,
        owner: &'a Name,
        paths: impl Iterator<Item = &'a BundlePath>,
    ) -> Result<()> {
        check_name(owner)?;
        for path in paths {
            self.claim(owner, path)?;
        }
        Ok(())
    }

    fn claim(&mut self, owner: &'a Name, path: &'a BundlePath) -> Result<()> {
        check_path(path).map_err(|e| e.about(owner))?;
        let path = path.as_str();
        let below = format!("{path}/");
        let inside = self
            .0
            .range(below.as_str()..)
            .next()
            .filter(|(other, _)| other.starts_with(&below));
        let around = path
            .match_indices('/')
            .find_map(|(at, _)| self.0.get_key_value(&path[..at]));
        if let Some((other, holder)) = inside.or(around) {
            return Err(wrong(format!(
                "`{path}` of {owner} and `{other}` of {holder}: a path cannot be a file and a directory"
            )));
        }
        match self.0.insert(path, owner) {
            None => Ok(()),
            Some(other) if other == owner => Err(wrong(format!(
                "{owner}: two of its files have the path `{path}`"
            ))),
            Some(other) => Err(wrong(format!(
                "two components have the path `{path}`: {other} and {owner}"
            ))),
        }
    }
}

/// Whether a component may have this name.
pub fn check_name(name: &Name) -> Result<()> {
    if name.as_str() == STUB_COMPONENT {
        return Err(wrong(format!(
            "no component can be named `{STUB_COMPONENT}`: that name belongs to the stub"
        )));
    }
    Ok(())
}

/// Whether a path lies in one of the directories that a component may have.
pub fn check_path(path: &BundlePath) -> Result<()> {
    let top = path.as_str().split_once('/').map(|(top, _)| top);
    if !top.is_some_and(|t| TOP_DIRECTORIES.contains(&t)) {
        return Err(wrong(format!(
            "`{path}` is not an allowed path in the installed tree"
        ))
        .expected(format!("a path below {}/", TOP_DIRECTORIES.join("/, "))));
    }
    if path.as_str() == format!("bin/{STUB_COMPONENT}") {
        return Err(wrong(format!("`{path}` is the stub's own place")));
    }
    Ok(())
}

fn wrong(what: String) -> Error {
    Error::new(Kind::Input, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error for components that want these paths, in this order.
    fn refused(wants: &[(&str, &str)]) -> String {
        let wants: Vec<_> = wants
            .iter()
            .map(|(n, p)| (Name::new(*n).unwrap(), BundlePath::new(*p).unwrap()))
            .collect();
        let mut places = Places::default();
        let (last, before) = wants.split_last().unwrap();
        for (name, path) in before {
            places.claim_all(name, [path].into_iter()).unwrap();
        }
        let error = places.claim_all(&last.0, [&last.1].into_iter());
        error.unwrap_err().to_string()
    }

    #[test]
    fn two_components_cannot_have_one_path() {
        insta::assert_snapshot!(refused(&[("runc", "bin/runc"), ("cri-o", "bin/runc")]), @r"
        two components have the path `bin/runc`: runc and cri-o
        ");
        insta::assert_snapshot!(refused(&[("runc", "bin/runc"), ("runc", "bin/runc")]), @r"
        runc: two of its files have the path `bin/runc`
        ");
    }

    #[test]
    fn a_file_is_no_directory() {
        insta::assert_snapshot!(refused(&[("a", "images/x"), ("b", "images/x/y")]), @r"
        `images/x/y` of b and `images/x` of a: a path cannot be a file and a directory
        ");
        insta::assert_snapshot!(refused(&[("b", "images/x/y"), ("a", "images/x")]), @r"
        `images/x` of a and `images/x/y` of b: a path cannot be a file and a directory
        ");
        let mut places = Places::default();
        let name = Name::new("a").unwrap();
        let paths = ["bin/ip", "bin/ip-x", "bin/ip.d/x"].map(|p| BundlePath::new(p).unwrap());
        places.claim_all(&name, paths.iter()).unwrap();
    }

    #[test]
    fn there_are_four_directories_and_the_stub_has_its_place() {
        insta::assert_snapshot!(refused(&[("a", "etc/passwd")]), @r"
        a: `etc/passwd` is not an allowed path in the installed tree
          expected  a path below bin/, images/, lib/, libexec/, share/
        ");
        insta::assert_snapshot!(refused(&[("a", "bin")]), @r"
        a: `bin` is not an allowed path in the installed tree
          expected  a path below bin/, images/, lib/, libexec/, share/
        ");
        insta::assert_snapshot!(refused(&[("a", "bin/usernetes")]), @r"
        a: `bin/usernetes` is the stub's own place
        ");
        insta::assert_snapshot!(refused(&[("usernetes", "bin/a")]), @r"
        no component can be named `usernetes`: that name belongs to the stub
        ");
    }
}
