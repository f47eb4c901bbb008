//! Where to get the source code of a component.

use crate::bundle::{Component, Source};
use crate::purl;

/// The next step if these places do not have all of the source code.
pub(super) const OFFER: &str = concat!(
    "Its licence entitles you to its complete source code, including that of everything linked into it. If the places\n  \
     named here do not have it, ask for it at ",
    env!("CARGO_PKG_REPOSITORY"),
    "/issues"
);

/// The places, most exact first: the archive of a release's tag, the name of a source package, the home page.
pub(super) fn places(component: &Component) -> Vec<String> {
    let mut places: Vec<String> = component.sources.iter().filter_map(exact).collect();
    places.push(component.homepage.clone());
    places.dedup();
    places
}

fn exact(source: &Source) -> Option<String> {
    if let Some((repository, tag)) = purl::github_release(&source.url) {
        return Some(format!(
            "https://github.com/{repository}/archive/refs/tags/{tag}.tar.gz"
        ));
    }
    let package = purl::debian_package(&source.url)?;
    Some(format!(
        "`apt-get source {}={}`, on the Debian release it is from",
        package.name, package.version
    ))
}
