//! `Link` headers (RFC 8288), by which lists are continued.

use reqwest::Url;

use crate::http::Response;

/// Where a list goes on, absolute.
pub(super) fn next(response: &Response) -> Option<Url> {
    let target = target(response.header("link")?)?;
    Url::parse(&response.url).ok()?.join(target).ok()
}

/// The target of the first link whose relation is `next`.
fn target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        // Parameters end where the next link begins: what stands in quotes has no `<` in any list we read.
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
