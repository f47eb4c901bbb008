//! HTTP as a build needs it: retries with back-off, a cap on every body, redirects that never leave TLS,
//! and errors that name the host and the reason.
//!
//! Proxies are those of the environment (`https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`), but for addresses of this
//! machine, which are never asked by way of one. Certificates are those of the operating system.

mod connection;
mod failure;
pub(crate) mod refusal;
mod transport;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::blocking::Response as Answer;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Method, Url};
use stub::error::Result;

use self::connection::Proxy;
pub(crate) use self::failure::{Failure, explained, failed, refused, status_text};
use self::failure::{passing, root_cause};
use self::transport::Proof;
pub(crate) use self::transport::is_loopback;

const REDIRECTS: usize = 10;

/// The settings that differ between the real world and a test.
pub struct Settings {
    /// How long it may take to connect, TLS included.
    pub connect: Duration,
    /// How long the connection may be silent. The duration of a whole download is not limited.
    pub stall: Duration,
    /// Whether the proxies in the environment are used for other machines.
    pub proxies: bool,
    /// Waits before the next try.
    pub sleep: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            proxies: true,
            sleep: Box::new(std::thread::sleep),
        }
    }
}

/// An HTTP client. Share it by reference between threads. Opens nothing before the first request.
#[derive(Default)]
pub struct Client {
    settings: Settings,
    /// For this machine.
    direct: Mutex<Option<reqwest::blocking::Client>>,
    /// For all others.
    outward: Mutex<Option<reqwest::blocking::Client>>,
    /// `host` or `host:port` of those that could not be reached, and why: they are not tried again.
    unreachable: Mutex<BTreeMap<String, String>>,
    answered: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// A server's whole answer.
#[derive(Debug)]
pub struct Response {
    /// The status code. Never a redirect, 408 or 5xx; 429 only where it was asked for.
    pub status: u16,
    /// Where it came from: the address asked for, or the one that redirects led to.
    pub url: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value, if it is there and is plain text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The status in words, with the server's explanation, for an answer that refuses.
    #[must_use]
    pub fn refusal(&self) -> String {
        refusal::explained(&status_text(self.status), &self.body)
    }

    /// The server's explanation in an error's body, if there is one.
    pub(crate) fn said(&self) -> Option<String> {
        refusal::sentence(&self.body)
    }
}

impl Client {
    /// A client for the real world.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client with other patience.
    #[must_use]
    pub fn with(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Gets a small document of at most `cap` bytes. Any status but 200 is an error.
    pub fn get(&self, url: &str, cap: u64) -> Result<Vec<u8>> {
        only_200(url, self.get_with(url, &[], cap)?)
    }

    /// As [`Client::get`], also over plain HTTP: for content that is checked by a digest or a signature afterwards. `None` if
    /// there is no such document.
    pub fn find_to_check(&self, url: &str, cap: u64) -> Result<Option<Vec<u8>>> {
        let attempt = || self.read(self.send_to_check(url, &[])?, cap);
        let response = self.retrying(attempt);
        let response = response.map_err(|failure| explained(url, failure))?;
        match response.status {
            404 | 410 => Ok(None),
            _ => only_200(url, response).map(Some),
        }
    }

    /// Gets a small document of at most `cap` bytes with headers of one's own. Every status is passed on, except
    /// those that are retried and then are an error: 408, 429 and 5xx.
    pub fn get_with(&self, url: &str, headers: &[(&str, &str)], cap: u64) -> Result<Response> {
        let result = self.retrying(|| self.get_once(url, headers, cap));
        result.map_err(|failure| explained(url, failure))
    }

    /// As [`Client::get_with`], but 429 is passed on too: for a caller that knows how long to wait.
    pub(crate) fn get_limited(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        cap: u64,
    ) -> Result<Response> {
        let attempt = || {
            let answer = self.follow(&Method::GET, url, headers, Proof::Connection)?;
            let limited = answer.status().as_u16() == 429;
            let answer = if limited { answer } else { passing(answer)? };
            self.read(answer, cap)
        };
        self.retrying(attempt)
            .map_err(|failure| explained(url, failure))
    }

    /// The status and headers of a document, without the document.
    pub fn head(&self, url: &str) -> Result<Response> {
        let attempt = || {
            let answer = passing(self.follow(&Method::HEAD, url, &[], Proof::Connection)?)?;
            self.read(answer, 0)
        };
        self.retrying(attempt)
            .map_err(|failure| explained(url, failure))
    }

    /// Waits as between two tries.
    pub(crate) fn wait(&self, wait: Duration) {
        (self.settings.sleep)(wait);
    }

    /// As [`Client::get_with`], without a second try.
    pub(crate) fn get_once(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        cap: u64,
    ) -> Result<Response, Failure> {
        self.read(self.send(url, headers)?, cap)
    }

    /// Reads an answer of at most `cap` bytes.
    pub(crate) fn read(&self, answer: Answer, cap: u64) -> Result<Response, Failure> {
        let status = answer.status().as_u16();
        let url = answer.url().to_string();
        let headers = answer.headers().clone();
        if !answer.status().is_success() {
            // Only the explanation in it is used, so its length does not matter, and it is not requested again.
            let body = refusal::read(answer);
            return Ok(Response {
                status,
                url,
                headers,
                body,
            });
        }
        let mut body = Vec::new();
        let read = answer.take(cap + 1).read_to_end(&mut body);
        read.map_err(|e| self.broken(&e))?;
        if body.len() as u64 > cap {
            let reason = format!("the answer is longer than {cap} bytes");
            return Err(Failure::Final(reason));
        }
        Ok(Response {
            status,
            url,
            headers,
            body,
        })
    }

    /// Whether any server at all has answered so far.
    pub(crate) fn answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Repeats an attempt whose failure may be temporary, with waits in between.
    pub(crate) fn retrying<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut tries = 1;
        loop {
            let failure = match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let (most, wait) = failure.next_try(tries);
            if tries >= most {
                if let Failure::Unreachable { host, reason, .. } = &failure {
                    lock(&self.unreachable).insert(host.clone(), reason.clone());
                }
                return Err(failure.after(tries));
            }
            if !wait.is_zero() {
                (self.settings.sleep)(wait);
            }
            tries += 1;
        }
    }

    /// Sends one request, and further ones as redirects demand. The answer is neither a redirect nor a status that
    /// may pass; its body has yet to be read.
    ///
    /// Plain HTTP is refused, also after a redirect, unless it is for this machine.
    pub(crate) fn send(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, Failure> {
        passing(self.follow(&Method::GET, url, headers, Proof::Connection)?)
    }

    /// As [`Client::send`], also over plain HTTP: for content that is checked by a digest or a signature afterwards.
    pub(crate) fn send_to_check(
        &self,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        passing(self.follow(&Method::GET, url, headers, Proof::Content)?)
    }

    /// Sends requests until the answer is no redirect.
    fn follow(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        proof: Proof,
    ) -> Result<Answer, Failure> {
        let first = Url::parse(url).map_err(|e| Failure::Final(format!("not a URL: {e}")))?;
        let mut chain = vec![first];
        let mut own_host = true;
        loop {
            let here = &chain[chain.len() - 1];
            transport::check(here, proof).map_err(Failure::Final)?;
            let answer = self.send_once(method, here, headers, own_host)?;
            let status = answer.status();
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok());
            let next = location
                .and_then(|l| here.join(l).ok())
                .ok_or_else(|| Failure::Final(format!("{status} without a usable `Location`")))?;
            check_redirect(&chain, &next).map_err(Failure::Final)?;
            own_host &= next.origin() == here.origin();
            chain.push(next);
        }
    }

    fn send_once(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&str, &str)],
        own_host: bool,
    ) -> Result<Answer, Failure> {
        let host = url.host_str().unwrap_or_default();
        let host = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if let Some(reason) = lock(&self.unreachable).get(&host).cloned() {
            return Err(Failure::Unreachable {
                host,
                reason,
                quick: false,
            });
        }
        let mut request = self
            .inner(is_loopback(url))?
            .request(method.clone(), url.clone());
        for (name, value) in headers {
            // One host's credentials must not reach another host.
            if own_host || !name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
                request = request.header(*name, *value);
            }
        }
        let answer = request
            .send()
            .map_err(|error| self.classify(&error, url, host))?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(answer)
    }

    fn inner(&self, loopback: bool) -> Result<reqwest::blocking::Client> {
        let mut inner = lock(if loopback {
            &self.direct
        } else {
            &self.outward
        });
        if let Some(client) = &*inner {
            return Ok(client.clone());
        }
        let client = transport::client(&self.settings, loopback)?;
        Ok(inner.insert(client).clone())
    }

    /// The meaning of an error while reading a body.
    pub(crate) fn broken(&self, error: &io::Error) -> Failure {
        let timeout = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<reqwest::Error>())
            .is_some_and(reqwest::Error::is_timeout);
        let reason = if timeout {
            format!("nothing arrived for {:?}", self.settings.stall)
        } else {
            format!("the connection broke: {}", root_cause(error))
        };
        Failure::Passing { reason, wait: None }
    }

    fn classify(&self, error: &reqwest::Error, url: &Url, host: String) -> Failure {
        let cause = root_cause(error);
        if error.is_connect() {
            let proxy = Proxy::of(url).filter(|_| self.settings.proxies);
            let reason = connection::refused(error, &host, proxy.as_ref());
            let reason = if error.is_timeout() {
                format!("{reason} (waited for {:?})", self.settings.connect)
            } else {
                reason
            };
            return Failure::Unreachable {
                host,
                reason,
                quick: !error.is_timeout(),
            };
        }
        if error.is_builder() {
            return Failure::Final(format!("this request cannot be sent: {cause}"));
        }
        let reason = if error.is_timeout() {
            format!("no answer from {host} for {:?}", self.settings.stall)
        } else {
            format!("the connection to {host} broke: {cause}")
        };
        Failure::Passing { reason, wait: None }
    }
}

fn only_200(url: &str, response: Response) -> Result<Vec<u8>> {
    if response.status == 200 {
        return Ok(response.body);
    }
    Err(failed(url, response.refusal()))
}

/// Whether a redirect may be followed; `chain` is the addresses requested so far. The error says why not.
fn check_redirect(chain: &[Url], next: &Url) -> Result<(), String> {
    let trail = || {
        let urls = chain.iter().chain([next]).map(Url::as_str);
        urls.collect::<Vec<_>>().join(" → ")
    };
    if !matches!(next.scheme(), "http" | "https") {
        return Err(format!(
            "redirect to something that is not HTTP: {}",
            trail()
        ));
    }
    if next.scheme() == "http" && chain.iter().any(|u| u.scheme() == "https") {
        return Err(format!("redirect from HTTPS to plain HTTP: {}", trail()));
    }
    if chain.contains(next) {
        return Err(format!("redirect loop: {}", trail()));
    }
    if chain.len() > REDIRECTS {
        return Err(format!("more than {REDIRECTS} redirects: {}", trail()));
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|t| Url::parse(t).unwrap()).collect()
    }

    #[test]
    fn redirects_never_leave_tls_and_never_go_in_circles() {
        let check = |chain: &[&str], next: &str| check_redirect(&urls(chain), &urls(&[next])[0]);
        assert!(check(&["http://a/"], "https://b/").is_ok());
        assert!(check(&["http://a/"], "http://b/").is_ok());
        assert!(check(&["https://a/"], "https://b/").is_ok());
        insta::assert_snapshot!(check(&["https://a/"], "http://b/").unwrap_err(), @"redirect from HTTPS to plain HTTP: https://a/ → http://b/");
        assert!(check(&["http://a/", "https://b/"], "http://c/").is_err());
        assert!(check(&["http://a/"], "file:///etc/passwd").is_err());
        insta::assert_snapshot!(check(&["http://a/", "http://b/"], "http://a/").unwrap_err(), @"redirect loop: http://a/ → http://b/ → http://a/");
        let many: Vec<String> = (0..11).map(|n| format!("http://a/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(check(&many[..10], "http://b/").is_ok());
        assert!(
            check(&many, "http://b/")
                .unwrap_err()
                .starts_with("more than 10 redirects: http://a/0 → ")
        );
    }
}
