//! Requests to the API server, over one connection that is kept.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Certificate, Identity, Method};
use serde_json::Value;
use stub::child;
use stub::error::{Error, Kind, Result};

/// How long an answer may take. Kubernetes itself gives up after this time.
const PATIENCE: Duration = Duration::from_mins(1);
const JSON: &str = "application/json";
/// A list as `kubectl get` shows it.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// The media type for server-side apply, which is the only patch used here.
const APPLY: &str = "application/apply-patch+yaml";

/// The API server, as the user of a kubeconfig.
#[derive(Debug)]
pub(crate) struct Api {
    client: Client,
    server: String,
    token: Option<String>,
}

impl Api {
    /// Reads a kubeconfig with `kubectl`, because it may have any of the forms that Kubernetes knows.
    pub(crate) fn new(kubectl: &Path, kubeconfig: &Path) -> Result<Self> {
        let mut command = Command::new(kubectl);
        command.arg("--kubeconfig").arg(kubeconfig);
        command.args([
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "-o",
            "json",
        ]);
        let text = child::run(&mut command)?.success()?;
        let bad = |why: String| Error::new(Kind::Input, format!("{}: {why}", kubeconfig.display()));
        let config: Value = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let cluster = &config["clusters"][0]["cluster"];
        let user = &config["users"][0]["user"];
        let server = cluster["server"].as_str();
        let server = server.ok_or_else(|| bad("it names no server".to_owned()))?;
        let pem = |object: &Value, key: &str| {
            let text = object[key].as_str().map(|text| BASE64.decode(text));
            text.transpose()
                .map_err(|error| bad(format!("{key}: {error}")))
        };
        let wrong = |error: reqwest::Error| bad(error.to_string());
        // An error means that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = ClientBuilder::new().timeout(PATIENCE).no_proxy();
        if let Some(authority) = pem(cluster, "certificate-authority-data")? {
            let authorities = Certificate::from_pem_bundle(&authority).map_err(wrong)?;
            builder = builder.tls_certs_only(authorities);
        }
        let certificate = pem(user, "client-certificate-data")?;
        if let (Some(certificate), Some(key)) = (certificate, pem(user, "client-key-data")?) {
            let both = [key, certificate].join(&b'\n');
            builder = builder.identity(Identity::from_pem(&both).map_err(wrong)?);
        }
        Ok(Self {
            client: builder.build().map_err(wrong)?,
            server: server.trim_end_matches('/').to_owned(),
            token: user["token"]
                .as_str()
                .map(|token| format!("Bearer {token}")),
        })
    }

    /// Sends a request, and gives the body of an answer of success. A PATCH is a server-side apply.
    pub(crate) fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Vec<u8>> {
        self.ask(method, path, body, JSON)
    }

    /// Sends a request for an answer of some media type.
    fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        accept: &str,
    ) -> Result<Vec<u8>> {
        let failed = |why: String| Error::new(Kind::Failed, format!("{method} {path}: {why}"));
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.server));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(body) = body {
            let kind = if method == Method::PATCH { APPLY } else { JSON };
            request = request.header(CONTENT_TYPE, kind).body(body.to_string());
        }
        let request = request.header(ACCEPT, accept);
        let answer = request.send().map_err(|error| failed(reason(&error)))?;
        let status = answer.status();
        let body = answer.bytes().map_err(|error| failed(reason(&error)))?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = said["message"].as_str();
        Err(failed(format!(
            "{status}: {}",
            message.unwrap_or("without a message")
        )))
    }

    /// The object or list at a path.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let body = self.send(&Method::GET, path, None)?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::new(Kind::Failed, format!("GET {path}: {error}")))
    }

    /// The objects of the list at a path.
    pub(crate) fn items(&self, path: &str) -> Result<Vec<Value>> {
        let mut list = self.get(path)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Err(Error::new(
                Kind::Failed,
                format!("GET {path}: this is no list"),
            )),
        }
    }

    /// How many objects the list at a path has. The server is spared from sending them.
    pub(crate) fn count(&self, path: &str) -> Result<usize> {
        let path = format!("{path}&includeObject=None");
        let body = self.ask(&Method::GET, &path, None, TABLE)?;
        let table: Value = serde_json::from_slice(&body).unwrap_or_default();
        let rows = table["rows"].as_array();
        rows.map(Vec::len)
            .ok_or_else(|| Error::new(Kind::Failed, format!("GET {path}: this is no table")))
    }

    /// The size of etcd's file in bytes, as the API server knows it.
    pub(crate) fn etcd_bytes(&self) -> Result<f64> {
        let text = self.send(&Method::GET, "/metrics", None)?;
        size(&String::from_utf8_lossy(&text)).ok_or_else(|| {
            Error::new(
                Kind::Failed,
                "the API server does not say how large etcd is",
            )
        })
    }
}

/// Why there was no answer: the innermost error says it.
fn reason(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

/// The size of etcd's file in metrics of the API server.
fn size(metrics: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("apiserver_storage_size_bytes{"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use fs_err as fs;
    use support::program::write_program;
    use support::server::{Behaviour, Server};

    use super::*;

    /// The API of a played server.
    pub(crate) fn played(server: &Server) -> Api {
        config(&format!(r#"{{"server": "{}/"}}"#, server.url(""))).unwrap()
    }

    /// The API of a played `kubectl` that shows this cluster.
    fn config(cluster: &str) -> Result<Api> {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            r#"{{"clusters": [{{"cluster": {cluster}}}], "users": [{{"user": {{"token": "secret"}}}}]}}"#
        );
        fs::write(dir.path().join("kubeconfig"), text).unwrap();
        let kubectl = dir.path().join("kubectl");
        write_program(&kubectl, "#!/bin/sh\ncat \"$2\"\n");
        Api::new(&kubectl, &dir.path().join("kubeconfig"))
    }

    #[test]
    fn requests_have_the_users_token_and_errors_the_servers_words() {
        let server = Server::start();
        let api = played(&server);
        server.good("/list", br#"{"items": [1, 2]}"#);
        server.good("/other", b"{}");
        let refusal = Behaviour::Answer(403, vec![]);
        server.route("/no", br#"{"message": "you may not"}"#, [refusal]);
        assert_eq!(api.items("/list").unwrap().len(), 2);
        let request = &server.requests()[0];
        assert_eq!(request.header("authorization"), Some("Bearer secret"));
        let error = api.items("/other").unwrap_err();
        assert_eq!(error.message(), "GET /other: this is no list");
        server.good("/table", br#"{"rows": [{}, {}, {}]}"#);
        assert_eq!(api.count("/table?a=b").unwrap(), 3);
        let request = &server.requests_for("/table")[0];
        assert_eq!(request.path, "/table?a=b&includeObject=None");
        assert_eq!(request.header("accept"), Some(TABLE));
        api.count("/list?a=b").unwrap_err();
        let error = api.get("/no").unwrap_err();
        assert_eq!(error.message(), "GET /no: 403 Forbidden: you may not");
    }

    #[test]
    fn a_kubeconfig_that_is_of_no_use_is_named() {
        for (cluster, why) in [
            ("{}", "it names no server"),
            (
                r#"{"server": "https://a", "certificate-authority-data": "?"}"#,
                "certificate-authority-data: ",
            ),
        ] {
            let error = config(cluster).unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(
                error.message().contains(&format!("kubeconfig: {why}")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_size_of_etcd_is_among_other_metrics() {
        let text = "# TYPE apiserver_storage_size_bytes gauge\na 1\napiserver_storage_size_bytes{storage_cluster_id=\"etcd-0\"} 2.5e+06\n";
        assert_eq!(size(text), Some(2.5e6));
        assert_eq!(size("a 1\n"), None);
    }
}
