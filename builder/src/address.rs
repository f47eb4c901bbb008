//! Web addresses.

use percent_encoding::percent_decode_str;

/// The path of an address or its end, without query and fragment, decoded: the file's name as its publisher writes it.
pub(crate) fn path(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_address_is_decoded() {
        assert_eq!(path("https://a/b%2Bc.deb?x=1"), "https://a/b+c.deb");
        assert_eq!(path("t_1%3a1.4-1.deb#sha256"), "t_1:1.4-1.deb");
        assert_eq!(path(""), "");
    }
}
