//! A crate's modules are a house of floors: a module uses only modules on its own floor and below, and no two use each other,
//! not even by way of others. `ARCHITECTURE.md` has the picture.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fs_err as fs;

/// For each module, those that it uses, with a file that does.
pub type Arrows = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// Which modules each module of the sources in a directory uses, with a file that does.
pub fn arrows(source: &Path) -> Arrows {
    let mut arrows = Arrows::new();
    let mut directories = vec![source.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let file = path.strip_prefix(source).unwrap();
                let mut parts = file.iter().map(|part| part.to_str().unwrap());
                let module = parts.next().unwrap().trim_end_matches(".rs").to_owned();
                if !["lib", "main"].contains(&module.as_str()) && !is_test(&path) {
                    let used = arrows.entry(module.clone()).or_default();
                    for other in uses(&fs::read_to_string(&path).unwrap()) {
                        if other != module {
                            used.insert(other, file.to_owned());
                        }
                    }
                }
            }
        }
    }
    arrows
}

/// Whether a file is compiled for tests only, because its parent says so.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let directory = path.parent().unwrap();
    if directory.iter().any(|part| part == "tests") || name == "tests" {
        return true;
    }
    let parents = [directory.join("mod.rs"), directory.with_extension("rs")];
    parents.iter().any(|parent| {
        fs::read_to_string(parent).is_ok_and(|text| {
            ["", "pub(crate) ", "pub "]
                .iter()
                .any(|visibility| text.contains(&format!("#[cfg(test)]\n{visibility}mod {name};")))
        })
    })
}

/// The modules of this crate that a text names, but for its tests.
fn uses(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let text = text.split("#[cfg(test)]\npub(crate) mod ").next().unwrap();
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<_> = code.collect();
    let mut found = BTreeSet::new();
    for rest in code.join("\n").split("crate::").skip(1) {
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().to_owned(),
            None => rest[..end.unwrap_or(rest.len())].to_owned(),
        };
        let names = names
            .split(',')
            .map(|name| name.trim().split("::").next().unwrap());
        let is_module = |name: &&str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        found.extend(names.filter(is_module).map(str::to_owned));
    }
    found
}

/// A way from a module over others back to itself, if there is one.
fn circle(arrows: &Arrows, from: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in arrows
            .get(way.last().unwrap())
            .into_iter()
            .flatten()
            .map(|(n, _)| n)
        {
            let way = [way.clone(), vec![next.clone()]].concat();
            if next == from {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push(way);
            }
        }
    }
    None
}

/// All arrows that go up, circles, and modules that are on no floor. `floors` names the modules from the ground up.
pub fn faults(arrows: &Arrows, floors: &[&[&str]]) -> Vec<String> {
    let floor = |module: &str| floors.iter().position(|floor| floor.contains(&module));
    let mut faults = Vec::new();
    for (module, used) in arrows {
        let Some(own) = floor(module) else {
            faults.push(format!(
                "{module} has no floor: put it into this test and into ARCHITECTURE.md"
            ));
            continue;
        };
        for (other, file) in used {
            if floor(other).is_some_and(|floor| floor > own) {
                faults.push(format!(
                    "{} uses {other}, which is on a floor above it",
                    file.display()
                ));
            }
        }
        if let Some(way) = circle(arrows, module) {
            faults.push(format!("a circle: {}", way.join(" → ")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_a_text_uses() {
        let text = "use crate::a::B;\nuse crate::{b, c::D};\n// crate::e\nlet x = crate::f::g();\n#[cfg(test)]\nmod tests {\nuse crate::h;\n";
        let names: Vec<_> = uses(text).into_iter().collect();
        assert_eq!(names, ["a", "b", "c", "f"]);
    }

    #[test]
    fn a_circle_is_found() {
        let pairs = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")];
        let mut arrows = Arrows::new();
        for (from, to) in pairs {
            arrows
                .entry(from.to_owned())
                .or_default()
                .insert(to.to_owned(), PathBuf::new());
        }
        assert_eq!(circle(&arrows, "b").unwrap(), ["b", "c", "b"]);
        assert_eq!(circle(&arrows, "a"), None);
    }
}
