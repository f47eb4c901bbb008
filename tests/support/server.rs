//! A web server on a local port that misbehaves as a test wants it to.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

/// What is done with a request for a path.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Everything as it should be: `ETag`, `Range`, `If-Range`.
    Good,
    /// Good, after as many requests as the barrier wants have come.
    Meet(Arc<Barrier>),
    /// Good, but a byte at a time.
    Trickle,
    /// Always the whole, whatever range was asked for.
    IgnoreRange,
    /// Says 206 and sends the whole.
    WrongRange,
    /// Closes the connection after so many bytes, having promised all.
    Short(usize),
    /// Sends nothing more after so many bytes, having promised all.
    Stall(usize),
    /// Says that the content has this length, and sends as much of it as there is.
    Length(usize),
    /// Sends zeroes, 32 MiB of them.
    Endless,
    /// Something else, with an `ETag` of its own.
    Other(Vec<u8>),
    /// A web page that says that one has to log in.
    Page,
    /// A status and a header.
    Status(u16, Option<(&'static str, String)>),
    /// Sends the client elsewhere.
    Redirect(String),
    /// Good, with further headers.
    With(Vec<(&'static str, String)>),
    /// A status with headers and the content.
    Answer(u16, Vec<(&'static str, String)>),
    /// A list in pages, of which `?page=2` is the second; each says where the next one is, as GitHub's API does.
    Pages(Arc<Vec<Vec<u8>>>),
}

impl Behaviour {
    pub fn status(status: u16) -> Self {
        Self::Status(status, None)
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// How many bytes of body it was to be answered with, 0 if without end.
    pub sent: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct Shared {
    routes: Mutex<BTreeMap<String, Route>>,
    guard: Mutex<Option<Guard>>,
    log: Mutex<Vec<Request>>,
    active: AtomicUsize,
    most_active: AtomicUsize,
    stopped: AtomicBool,
}

struct Route {
    content: Vec<u8>,
    script: Vec<Behaviour>,
    asked: usize,
}

struct Guard {
    prefix: &'static str,
    token: String,
    challenges: Vec<String>,
}

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    then: Then,
}

#[derive(PartialEq, Eq)]
enum Then {
    Close,
    Stall,
    Trickle,
    Endless,
}

/// The server. It ends with this value.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let ours = Arc::clone(&ours);
                // Clients that go away in the middle are what half of the tests are about.
                thread::spawn(move || stream.and_then(|stream| ours.serve(stream)).ok());
            }
        });
        Self { address, shared }
    }

    /// An address at which nobody listens: no server here is on this one of the machine's own addresses.
    pub fn nobody(&self) -> SocketAddr {
        ([127, 0, 0, 2], self.address.port()).into()
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers requests for a path well. Gives its URL.
    pub fn good(&self, path: &str, content: &[u8]) -> String {
        self.route(path, content, [Behaviour::Good])
    }

    /// Answers the first request for a path by the first behaviour, and so on; the last one stays.
    pub fn route(
        &self,
        path: &str,
        content: &[u8],
        script: impl IntoIterator<Item = Behaviour>,
    ) -> String {
        let route = Route {
            content: content.to_vec(),
            script: script.into_iter().collect(),
            asked: 0,
        };
        self.shared
            .routes
            .lock()
            .unwrap()
            .insert(path.to_owned(), route);
        self.url(path)
    }

    /// Wants `Authorization: Bearer <token>` for all paths that begin like this, and says where to get one.
    pub fn guard(&self, prefix: &'static str, token: &str, challenge: String) {
        self.guard_by(prefix, token, vec![challenge]);
    }

    /// The same with several ways to log in, of which each is in a line of its own.
    pub fn guard_by(&self, prefix: &'static str, token: &str, challenges: Vec<String>) {
        *self.shared.guard.lock().unwrap() = Some(Guard {
            prefix,
            token: format!("Bearer {token}"),
            challenges,
        });
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }

    /// The requests so far for one path, whatever the query.
    pub fn requests_for(&self, path: &str) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|r| r.path.split('?').next() == Some(path));
        requests
    }

    /// The greatest number of requests that were being answered at one time.
    pub fn most_active(&self) -> usize {
        self.shared.most_active.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split(' ').map(str::to_owned);
        let mut request = Request {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            headers: BTreeMap::new(),
            sent: 0,
        };
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            request
                .headers
                .insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let active = self.active.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_active.fetch_max(active, Ordering::SeqCst);
        let mut reply = self.answer(&request);
        if request.method == "HEAD" {
            reply.body.clear();
        }
        request.sent = reply.body.len();
        self.log.lock().unwrap().push(request);
        // Before the last byte is out: after it the client may come back at once.
        self.active.fetch_sub(1, Ordering::SeqCst);
        reply.write(stream, reader)
    }

    fn answer(&self, request: &Request) -> Reply {
        if let Some(guard) = &*self.guard.lock().unwrap()
            && request.path.starts_with(guard.prefix)
            && request.header("authorization") != Some(&guard.token)
        {
            let challenges = guard.challenges.iter().cloned();
            return challenges.fold(Reply::bare(401, None), |reply, challenge| {
                reply.with("WWW-Authenticate", challenge)
            });
        }
        let path = request.path.split('?').next().unwrap_or_default();
        let (content, behaviour) = {
            let mut routes = self.routes.lock().unwrap();
            let Some(route) = routes.get_mut(path) else {
                return Reply::bare(404, None);
            };
            let step = route.asked.min(route.script.len() - 1);
            route.asked += 1;
            (route.content.clone(), route.script[step].clone())
        };
        match behaviour {
            Behaviour::Good => Reply::good(content, request),
            Behaviour::Meet(barrier) => {
                barrier.wait();
                Reply::good(content, request)
            }
            Behaviour::Trickle => Reply {
                then: Then::Trickle,
                ..Reply::good(content, request)
            },
            Behaviour::IgnoreRange => Reply::whole(content),
            Behaviour::WrongRange => {
                let range = format!("bytes 0-{}/{}", content.len() - 1, content.len());
                let mut reply = Reply::whole(content).with("Content-Range", range);
                reply.status = 206;
                reply
            }
            Behaviour::Short(bytes) => {
                let mut reply = Reply::good(content, request);
                reply.body.truncate(bytes);
                reply
            }
            Behaviour::Stall(bytes) => {
                let mut reply = Reply::good(content, request);
                reply.body.truncate(bytes);
                reply.then = Then::Stall;
                reply
            }
            Behaviour::Length(bytes) => {
                let mut reply = Reply::whole(content);
                reply.headers.retain(|(name, _)| *name != "Content-Length");
                reply.body.truncate(bytes);
                reply.with("Content-Length", bytes.to_string())
            }
            Behaviour::Endless => Reply {
                then: Then::Endless,
                ..Reply::bare(200, Some(("Transfer-Encoding", "chunked".to_owned())))
            },
            Behaviour::Other(other) => Reply::good(other, request),
            Behaviour::Page => {
                let page = b"<!doctype html><title>Log in</title>".to_vec();
                Reply::whole(page).with("Content-Type", "text/html; charset=utf-8".to_owned())
            }
            Behaviour::Status(status, header) => Reply::bare(status, header),
            Behaviour::Redirect(url) => Reply::bare(307, Some(("Location", url))),
            Behaviour::With(headers) => {
                let reply = Reply::good(content, request);
                headers.into_iter().fold(reply, |r, (n, v)| r.with(n, v))
            }
            Behaviour::Answer(status, headers) => {
                let mut reply = Reply::whole(content);
                reply.status = status;
                headers.into_iter().fold(reply, |r, (n, v)| r.with(n, v))
            }
            Behaviour::Pages(pages) => Reply::page(&pages, path, request),
        }
    }
}

impl Reply {
    fn bare(status: u16, header: Option<(&'static str, String)>) -> Self {
        let mut headers: Vec<_> = header.into_iter().collect();
        if headers.iter().all(|(name, _)| *name != "Transfer-Encoding") {
            headers.push(("Content-Length", "0".to_owned()));
        }
        Self {
            status,
            headers,
            body: Vec::new(),
            then: Then::Close,
        }
    }

    fn whole(body: Vec<u8>) -> Self {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        Self {
            status: 200,
            headers: vec![
                ("Content-Length", body.len().to_string()),
                ("ETag", format!("\"{:x}\"", hasher.finish())),
            ],
            body,
            then: Then::Close,
        }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn good(content: Vec<u8>, request: &Request) -> Self {
        let total = content.len();
        let whole = Self::whole(content);
        let etag = whole.headers[1].1.clone();
        if request.header("if-none-match") == Some(&etag) {
            return Self::bare(304, Some(("ETag", etag)));
        }
        let range = request
            .header("range")
            .and_then(|r| r.strip_prefix("bytes="));
        let range = range.filter(|_| request.header("if-range").is_none_or(|v| v == etag));
        let Some(first) = range.and_then(|r| r.strip_suffix('-')?.parse().ok()) else {
            return whole;
        };
        if first >= total {
            return Self::bare(416, Some(("Content-Range", format!("bytes */{total}"))));
        }
        let mut part = Self::whole(whole.body[first..].to_vec());
        part.status = 206;
        part.headers[1].1 = etag;
        part.with(
            "Content-Range",
            format!("bytes {first}-{}/{total}", total - 1),
        )
    }

    fn page(pages: &[Vec<u8>], path: &str, request: &Request) -> Self {
        let query = request.path.split_once('?').map_or("", |(_, query)| query);
        let number = query.split('&').find_map(|p| p.strip_prefix("page="));
        let number: usize = number.map_or(1, |n| n.parse().unwrap());
        let Some(page) = pages.get(number - 1) else {
            return Self::whole(b"[]".to_vec());
        };
        let reply = Self::good(page.clone(), request);
        if number == pages.len() {
            return reply;
        }
        let host = request.header("host").unwrap();
        let at = |page: usize, relation: &str| {
            format!("<http://{host}{path}?per_page=50&page={page}>; rel=\"{relation}\"")
        };
        let links = [at(number + 1, "next"), at(pages.len(), "last")];
        reply.with("Link", links.join(", "))
    }

    fn write(self, mut stream: TcpStream, mut reader: BufReader<TcpStream>) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += name;
            head += ": ";
            head += value;
            head += "\r\n";
        }
        head += "\r\n";
        stream.write_all(head.as_bytes())?;
        match self.then {
            Then::Trickle => {
                stream.set_nodelay(true)?;
                self.body
                    .chunks(1)
                    .try_for_each(|byte| stream.write_all(byte))?;
            }
            _ => stream.write_all(&self.body)?,
        }
        match self.then {
            // Until the client hangs up.
            Then::Stall => {
                io::copy(&mut reader, &mut io::sink())?;
            }
            // An end there is, lest a client that never tires fills the disk.
            Then::Endless => {
                for _ in 0..0x8000 {
                    stream.write_all(b"400\r\n")?;
                    stream.write_all(&[0; 0x400])?;
                    stream.write_all(b"\r\n")?;
                }
            }
            Then::Close | Then::Trickle => {}
        }
        Ok(())
    }
}
