//! Why no connection came about: the proxy, the host's name, its port, or TLS.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use stub::error::{Error, Kind};

use super::failure::root_cause;

/// The variables that name other certificates than the system's.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// A proxy, and the variable of the environment that names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Without the password that may be in it.
    address: String,
    variable: &'static str,
}

impl Proxy {
    /// The one that the environment names for an address.
    pub(super) fn of(url: &Url) -> Option<Self> {
        // Requests to this machine itself go through none.
        let host = url.host_str()?.trim_matches(['[', ']']);
        if host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback()) {
            return None;
        }
        Self::among(url, &|name| env::var(name).ok())
    }

    fn among(url: &Url, value: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let uri = url.as_str().parse().ok()?;
        let except = ["NO_PROXY", "no_proxy"].into_iter().find_map(value);
        let except = except.unwrap_or_default();
        let own = match url.scheme() {
            "https" => ["HTTPS_PROXY", "https_proxy"],
            _ => ["HTTP_PROXY", "http_proxy"],
        };
        [own, ["ALL_PROXY", "all_proxy"]]
            .into_iter()
            .find_map(|names| {
                // Of both spellings, the first that is set counts, even if it is empty.
                let (variable, named) = names.into_iter().find_map(|n| Some((n, value(n)?)))?;
                let matcher = Matcher::builder().all(named).no(except.clone()).build();
                let proxy = matcher.intercept(&uri)?;
                let (host, port) = (proxy.uri().host()?, proxy.uri().port());
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                let address = format!("{host}{port}");
                Some(Self { address, variable })
            })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the proxy {}, which {} names",
            self.address, self.variable
        )
    }
}

/// Why there is no connection to a host, through the proxy if there is one.
pub(super) fn refused(error: &reqwest::Error, host: &str, proxy: Option<&Proxy>) -> String {
    let cause = root_cause(error);
    // The second cause is a server that closes the connection, which is no error of TLS itself.
    if is_tls(error) || cause.starts_with("tls handshake") {
        let mut what = format!("no TLS connection to {host}");
        if let Some(proxy) = proxy {
            what += &format!(" through {proxy}");
        }
        let named: Vec<String> = certificates()
            .map(|(name, value)| format!("{name}={}", value.display()))
            .collect();
        // They have no part in other failures, such as a server that does not speak TLS.
        if cause.contains("certificate") && !named.is_empty() {
            what += &format!(", with the certificates of {}", named.join(" and "));
        }
        return format!("{what}: {cause}");
    }
    match proxy {
        // The proxy's answer to `CONNECT`.
        Some(proxy) if cause.contains("tunnel") || cause.contains("proxy") => {
            format!("{proxy}, does not connect us to {host}: {cause}")
        }
        Some(proxy) if error.is_dns() => format!("cannot find {proxy}: {cause}"),
        Some(proxy) => format!("cannot connect to {proxy}: {cause}"),
        None if error.is_dns() => format!("cannot find the host {host}: {cause}"),
        None => format!("cannot connect to {host}: {cause}"),
    }
}

/// The error for a client that cannot be set up, which is one without certificates.
pub(super) fn no_certificates(cause: &str) -> Error {
    let error = Error::new(Kind::Host, format!("cannot set up HTTPS: {cause}"));
    let named: Vec<_> = certificates().collect();
    if named.is_empty() {
        return error
            .hint("install the system's certificates, for example the package `ca-certificates`");
    }
    let mut error = error;
    for (name, value) in &named {
        let directory = *name == "SSL_CERT_DIR";
        // The variable for directories may name several.
        let paths = if directory {
            env::split_paths(value).collect()
        } else {
            vec![PathBuf::from(value)]
        };
        for path in paths {
            let why = match std::fs::metadata(&path) {
                Err(error) => error.to_string(),
                Ok(there) if there.is_dir() && !directory => "it is a directory".to_owned(),
                Ok(there) if !there.is_dir() && directory => "it is no directory".to_owned(),
                Ok(_) => "there is no certificate in it".to_owned(),
            };
            error = error.detail(name, format!("{}: {why}", path.display()));
        }
    }
    let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    error.hint(format!(
        "correct {} in the environment, or remove {} from it to use the system's certificates",
        names.join(" and "),
        if names.len() == 1 { "it" } else { "them" }
    ))
}

fn certificates() -> impl Iterator<Item = (&'static str, OsString)> {
    CERTIFICATES
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)))
}

/// Whether TLS failed: its error is hidden inside an I/O error.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let hidden = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    hidden.is_some_and(|e| e.is::<rustls::Error>() || is_tls(e))
        || error.is::<rustls::Error>()
        || error.source().is_some_and(is_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_the_one_that_requests_go_through() {
        let proxy = |url: &str, environment: &[(&str, &str)]| {
            let value = |name: &str| {
                let found = environment.iter().find(|(n, _)| *n == name);
                found.map(|(_, v)| (*v).to_owned())
            };
            let proxy = Proxy::among(&Url::parse(url).unwrap(), &value);
            proxy.map(|p| format!("{} {}", p.variable, p.address))
        };
        let both = [
            ("https_proxy", "http://user:secret@proxy.example:3128/"),
            ("all_proxy", "other:1"),
            ("no_proxy", "example.org"),
        ];
        let of = |url: &str| proxy(url, &both);
        assert_eq!(of("https://a/").unwrap(), "https_proxy proxy.example:3128");
        assert_eq!(of("http://a/").unwrap(), "all_proxy other:1");
        assert_eq!(of("https://www.example.org/"), None);
        assert_eq!(proxy("https://a/", &[("http_proxy", "p:1")]), None);
        // As reqwest does, too.
        let empty = [("HTTPS_PROXY", ""), ("https_proxy", "p:1")];
        assert_eq!(proxy("https://a/", &empty), None);
        let upper = [("HTTPS_PROXY", "p:2"), ("https_proxy", "p:1")];
        assert_eq!(proxy("https://a/", &upper).unwrap(), "HTTPS_PROXY p:2");
    }
}
