//! `Link` headers (RFC 8288), by which lists are continued.

use std::collections::BTreeSet;

use reqwest::Url;
use stub::error::{Error, Kind, Result};

use crate::http::Response;
use crate::wording::counted;

/// The pages of a list that were asked for. A list that is not read to its end is an error: the missing part may
/// hold the newest version.
pub(super) struct Pages {
    list: String,
    most: usize,
    asked: BTreeSet<String>,
}

impl Pages {
    /// Those of a list, named for messages, which may have so many pages.
    pub(super) fn of(list: String, most: usize) -> Self {
        Self {
            list,
            most,
            asked: BTreeSet::new(),
        }
    }

    /// Counts the page that is about to be asked for.
    pub(super) fn count(&mut self, url: &str) -> Result<()> {
        let Self { list, most, asked } = self;
        let came = asked.len();
        let pages = counted(came, "page");
        if asked.contains(url) {
            return Err(Error::new(
                Kind::Network,
                format!("{list}: the list goes in circles: after {pages} it goes on with one of them"),
            )
            .detail("page", url)
            .hint("try again; if the result is the same, a proxy with a cache may be repeating an old answer"));
        }
        if came == *most {
            return Err(Error::new(
                Kind::Network,
                format!("{list}: the list does not end"),
            )
            .expected(format!("at most {most} pages"))
            .found(format!("{pages}, and a next one: {url}"))
            .hint("the newest version may be among the missing ones, so none is taken: report this, because the limit may have to be raised"));
        }
        asked.insert(url.to_owned());
        Ok(())
    }
}

/// Where a list goes on, absolute.
pub(super) fn next(response: &Response) -> Option<Url> {
    let target = target(response.header("link")?)?;
    Url::parse(&response.url).ok()?.join(target).ok()
}

/// The target of the first link whose relation is `next`.
pub(crate) fn target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        // Parameters end where the next link begins: quoted text has no `<` in any list we read.
        let parameters = after.split('<').next().unwrap_or_default();
        let relation = parameters.split([';', ',']).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let own = name.trim().eq_ignore_ascii_case("rel");
            own.then(|| value.trim().trim_matches('"'))
        });
        if relation.is_some_and(|r| r.split(' ').any(|r| r.eq_ignore_ascii_case("next"))) {
            return Some(target);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_others() {
        let github = r#"<https://api.github.com/repositories/1/releases?page=1>; rel="prev", <https://api.github.com/repositories/1/releases?page=3>; rel="next", <https://api.github.com/repositories/1/releases?page=9>; rel="last""#;
        assert_eq!(
            target(github),
            Some("https://api.github.com/repositories/1/releases?page=3")
        );
        let registry = "</v2/a/b/tags/list?n=100&last=v1>; rel=next";
        assert_eq!(target(registry), Some("/v2/a/b/tags/list?n=100&last=v1"));
        for none in [
            "",
            "<",
            "<x",
            "<x>",
            r#"<x>; rel="prev""#,
            r#"<x>; title="next""#,
        ] {
            assert_eq!(target(none), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read_or_refused(text in r#"([<>;, ="]|rel|next|x){0,12}"#) {
            let _ = target(&text);
        }
    }
}
