//! Which of the announced versions is taken.

use std::time::{Duration, SystemTime};

use stub::bundle::Version;
use stub::error::{Error, Kind, Result};

use crate::date;
use crate::recipe::{VersionSource, comparable};
use crate::source::Announced;

/// The rules of a choice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) now: SystemTime,
    /// How long a version must have been out, so that others find its faults first.
    pub(super) min_age: Duration,
    pub(super) allow_downgrade: bool,
}

/// The version that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) version: Version,
    /// Whether upstream says when it was published.
    pub(super) dated: bool,
    /// A newer one that is not old enough, and why it is not taken.
    pub(super) held_back: Option<String>,
}

impl Rules {
    /// Why a version cannot be taken yet, if so.
    fn too_young(&self, announced: &Announced) -> Option<String> {
        let published = announced.published?;
        match self.now.duration_since(published) {
            Ok(age) if age >= self.min_age => None,
            Ok(_) => Some(format!(
                "{} was published or last changed on {}, less than {} days ago",
                announced.version,
                date::shown(published),
                self.min_age.as_secs() / 86400
            )),
            Err(_) if self.min_age.is_zero() => None,
            Err(_) => Some(format!(
                "{} is dated {}, which is in the future by this machine's clock",
                announced.version,
                date::shown(published)
            )),
        }
    }

    fn takes(&self, source: &VersionSource, announced: &Announced) -> bool {
        source.allows(&announced.version) && self.too_young(announced).is_none()
    }

    /// Whether one of these versions will be chosen, no matter which older versions exist.
    pub(super) fn enough(
        &self,
        source: &VersionSource,
        announced: &[Announced],
        locked: Option<&Version>,
    ) -> bool {
        announced.iter().any(|a| {
            self.takes(source, a) && locked.is_none_or(|l| comparable(&a.version) >= comparable(l))
        })
    }

    /// The newest version that the recipe allows and that has been out long enough. The locked version stays rather than
    /// being replaced by an older one.
    pub(super) fn choose(
        &self,
        source: &VersionSource,
        announced: &[Announced],
        locked: Option<&Version>,
    ) -> Result<Chosen> {
        let allowed = || announced.iter().filter(|a| source.allows(&a.version));
        let Some(newest) = allowed().max_by_key(|a| comparable(&a.version)) else {
            return Err(none_allowed(source, announced));
        };
        let best = allowed()
            .filter(|a| self.too_young(a).is_none())
            .max_by_key(|a| comparable(&a.version));
        let younger = best.is_none_or(|b| comparable(&b.version) < comparable(&newest.version));
        let held_back = self.too_young(newest).filter(|_| younger);
        let stays = |locked: &Version| Chosen {
            version: locked.clone(),
            dated: true,
            held_back: held_back.clone().filter(|_| newest.version != *locked),
        };
        match (best, locked) {
            (None, Some(locked))
                if source.allows(locked) && comparable(locked) <= comparable(&newest.version) =>
            {
                Ok(stays(locked))
            }
            (None, _) => Err(
                Error::new(Kind::Input, "no version has been out long enough")
                    .expected(format!("{} days", self.min_age.as_secs() / 86400))
                    .found(held_back.unwrap_or_else(|| newest.version.to_string()))
                    .hint("wait, or lower the number with `--min-age DAYS`"),
            ),
            (Some(best), Some(locked))
                if !self.allow_downgrade && comparable(&best.version) < comparable(locked) =>
            {
                // It was taken with a lower `--min-age`.
                if source.allows(locked) && announced.iter().any(|a| a.version == *locked) {
                    return Ok(stays(locked));
                }
                Err(Error::new(
                    Kind::Integrity,
                    "upstream's newest version is older than the locked one",
                )
                .detail("locked", locked)
                .detail("newest", &best.version)
                .hint("find out whether upstream has withdrawn a release; to go back to the older version, add `--allow-downgrade`"))
            }
            (Some(best), _) => Ok(Chosen {
                version: best.version.clone(),
                dated: best.published.is_some(),
                held_back,
            }),
        }
    }
}

fn none_allowed(source: &VersionSource, announced: &[Announced]) -> Error {
    let mut others: Vec<_> = announced.iter().collect();
    others.sort_by_key(|a| std::cmp::Reverse(comparable(&a.version)));
    let shown: Vec<&str> = others.iter().take(5).map(|a| a.version.as_str()).collect();
    let found = match shown.len() {
        0 => format!("no tag of the form `{}`", source.tag().unwrap_or_default()),
        _ => format!(
            "{} and others, {} in all",
            shown.join(", "),
            announced.len()
        ),
    };
    let allow = source.allow().map_or_else(String::new, ToString::to_string);
    Error::new(
        Kind::Input,
        "upstream announces no version that the recipe allows",
    )
    .expected(allow)
    .found(found)
    .hint("correct `allow` or `tag` in the recipe")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn rules() -> Rules {
        Rules {
            now: SystemTime::UNIX_EPOCH + DAY * 1000,
            min_age: DAY * 3,
            allow_downgrade: false,
        }
    }

    fn source() -> VersionSource {
        VersionSource::Github {
            repository: "a/b".to_owned(),
            tag: "v{version}".to_owned(),
            allow: "~1.2".parse().unwrap(),
        }
    }

    /// A version and the day it was published on; today is day 1000.
    fn out(version: &str, day: u32) -> Announced {
        Announced {
            version: Version::new(version).unwrap(),
            published: Some(SystemTime::UNIX_EPOCH + DAY * day),
        }
    }

    fn chosen(announced: &[Announced], locked: Option<&str>) -> Result<(String, Option<String>)> {
        let locked = locked.map(|l| Version::new(l).unwrap());
        let chosen = rules().choose(&source(), announced, locked.as_ref())?;
        Ok((chosen.version.to_string(), chosen.held_back))
    }

    #[test]
    fn the_newest_allowed_version_is_taken_whatever_the_order() {
        let announced = [
            out("1.2.9", 1),
            out("1.2.10", 2),
            out("1.3.0", 3),
            out("1.2.2", 4),
        ];
        assert_eq!(
            chosen(&announced, None).unwrap(),
            ("1.2.10".to_owned(), None)
        );
        assert_eq!(chosen(&announced, Some("1.2.9")).unwrap().0, "1.2.10");
    }

    #[test]
    fn a_version_must_have_been_out_for_some_days() {
        let (version, held_back) = chosen(&[out("1.2.4", 998), out("1.2.3", 900)], None).unwrap();
        assert_eq!(version, "1.2.3");
        insta::assert_snapshot!(held_back.unwrap(), @"1.2.4 was published or last changed on 1972-09-25 00:00 UTC, less than 3 days ago");
        let (version, held_back) = chosen(&[out("1.2.4", 998)], Some("1.2.3")).unwrap();
        assert_eq!(version, "1.2.3");
        assert!(held_back.is_some());
        insta::assert_snapshot!(chosen(&[out("1.2.4", 998)], None).unwrap_err(), @r"
        no version has been out long enough
          expected  3 days
          found     1.2.4 was published or last changed on 1972-09-25 00:00 UTC, less than 3 days ago

        hint: wait, or lower the number with `--min-age DAYS`
        ");
        // A version that was locked on its first day stays.
        assert_eq!(
            chosen(&[out("1.2.4", 999)], Some("1.2.4")).unwrap(),
            ("1.2.4".to_owned(), None)
        );
        assert_eq!(
            chosen(&[out("1.2.4", 999), out("1.2.3", 9)], Some("1.2.4")).unwrap(),
            ("1.2.4".to_owned(), None)
        );
    }

    #[test]
    fn a_version_from_the_future_is_not_taken() {
        let (version, held_back) = chosen(&[out("1.2.4", 1001), out("1.2.3", 900)], None).unwrap();
        assert_eq!(version, "1.2.3");
        insta::assert_snapshot!(held_back.unwrap(), @"1.2.4 is dated 1972-09-28 00:00 UTC, which is in the future by this machine's clock");
    }

    #[test]
    fn nothing_goes_back_by_itself() {
        insta::assert_snapshot!(chosen(&[out("1.2.2", 900)], Some("1.2.3")).unwrap_err(), @r"
        upstream's newest version is older than the locked one
          locked  1.2.3
          newest  1.2.2

        hint: find out whether upstream has withdrawn a release; to go back to the older version, add `--allow-downgrade`
        ");
        assert!(chosen(&[out("1.2.2", 900), out("1.3.0", 900)], Some("1.3.0")).is_err());
        let back = Rules {
            allow_downgrade: true,
            ..rules()
        };
        let locked = Version::new("1.2.3").unwrap();
        let chosen = back
            .choose(&source(), &[out("1.2.2", 900)], Some(&locked))
            .unwrap();
        assert_eq!(chosen.version.as_str(), "1.2.2");
    }

    #[test]
    fn what_there_is_instead_is_said() {
        insta::assert_snapshot!(chosen(&[out("2.0.0", 9), out("1.9.0", 9)], None).unwrap_err(), @r"
        upstream announces no version that the recipe allows
          expected  ~1.2
          found     2.0.0, 1.9.0 and others, 2 in all

        hint: correct `allow` or `tag` in the recipe
        ");
        let error = chosen(&[], None).unwrap_err().to_string();
        assert!(error.contains("no tag of the form `v{version}`"), "{error}");
    }
}
