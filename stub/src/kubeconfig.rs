//! The kubeconfigs of the components and of the administrator. `user_kubeconfig` merges entries into the user's own.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::layout::MASTER;

/// The name of the cluster, the user and the context in every kubeconfig that the project writes.
pub const NAME: &str = "usernetes";

/// The path of the administrator's kubeconfig in the configuration directory. It is for use on the host itself.
#[must_use]
pub fn admin_file(config_dir: &Path) -> PathBuf {
    config_dir.join(MASTER).join("admin-localhost.kubeconfig")
}

/// The text of the administrator's kubeconfig. It contains a private key.
pub fn print(config_dir: &Path) -> Result<String> {
    let file = admin_file(config_dir);
    match fs_err::read_to_string(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::new(
            Kind::Host,
            format!("{}: this kubeconfig does not exist", file.display()),
        )
        .expected("the administrator's kubeconfig")
        .found("no such file")
        .hint("run `usernetes install` first; a worker has no kubeconfig for an administrator")),
        text => Ok(text?),
    }
}

/// The cluster, user and context of a kubeconfig, in this order, with embedded certificates and key. The texts are PEM.
pub(crate) fn entries(server: &str, authority: &str, certificate: &str, key: &str) -> [Value; 3] {
    [
        json!({ "name": NAME, "cluster": {
            "server": server,
            "certificate-authority-data": BASE64.encode(authority),
        }}),
        json!({ "name": NAME, "user": {
            "client-certificate-data": BASE64.encode(certificate),
            "client-key-data": BASE64.encode(key),
        }}),
        json!({ "name": NAME, "context": { "cluster": NAME, "user": NAME } }),
    ]
}

/// The facts that make up a kubeconfig: the server, and the identity with which to connect. The texts are PEM.
pub(crate) struct Access<'a> {
    pub(crate) server: String,
    pub(crate) authority: &'a str,
    pub(crate) certificate: &'a str,
    pub(crate) key: &'a str,
}

impl Access<'_> {
    /// The kubeconfig, with embedded certificates and key. It is JSON, which every YAML parser reads.
    pub(crate) fn to_json(&self) -> String {
        let [cluster, user, context] =
            entries(&self.server, self.authority, self.certificate, self.key);
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [user],
            "contexts": [context],
            "current-context": NAME,
        });
        format!("{text:#}\n")
    }

    /// Names the first fact that a kubeconfig lacks; `None` if it has all. It searches for the embedded values, so it works
    /// with our JSON and with the YAML that the shell scripts made with kubectl.
    pub(crate) fn missing_from(&self, text: &str) -> Option<&'static str> {
        let embedded = |pem: &str| text.contains(&BASE64.encode(pem));
        let server = text
            .split(&self.server)
            .skip(1)
            .any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
        [
            (server, "the address of the API server"),
            (embedded(self.authority), "the cluster authority"),
            (embedded(self.certificate), "the current certificate"),
            (embedded(self.key), "the current key"),
        ]
        .into_iter()
        .find_map(|(there, what)| (!there).then_some(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: Access = Access {
        server: String::new(),
        authority: "-----BEGIN CERTIFICATE-----\nca\n",
        certificate: "-----BEGIN CERTIFICATE-----\nadmin\n",
        key: "-----BEGIN PRIVATE KEY-----\nadmin\n",
    };

    fn access() -> Access<'static> {
        Access {
            server: "https://127.0.0.1:6443".to_owned(),
            ..ACCESS
        }
    }

    #[test]
    fn snapshot_of_a_kubeconfig() {
        insta::assert_snapshot!(access().to_json(), @r#"
        {
          "apiVersion": "v1",
          "clusters": [
            {
              "cluster": {
                "certificate-authority-data": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmNhCg==",
                "server": "https://127.0.0.1:6443"
              },
              "name": "usernetes"
            }
          ],
          "contexts": [
            {
              "context": {
                "cluster": "usernetes",
                "user": "usernetes"
              },
              "name": "usernetes"
            }
          ],
          "current-context": "usernetes",
          "kind": "Config",
          "users": [
            {
              "name": "usernetes",
              "user": {
                "client-certificate-data": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCmFkbWluCg==",
                "client-key-data": "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCmFkbWluCg=="
              }
            }
          ]
        }
        "#);
    }

    #[test]
    fn own_json_and_kubectls_yaml_are_recognised() {
        let json = access().to_json();
        assert_eq!(access().missing_from(&json), None);
        let yaml: String = json
            .lines()
            .map(|l| l.replace(['"', ','], "") + "\n")
            .collect();
        assert_eq!(access().missing_from(&yaml), None);
    }

    #[test]
    fn the_changed_part_is_named() {
        let json = access().to_json();
        let other_port = Access {
            server: "https://127.0.0.1:644".to_owned(),
            ..ACCESS
        };
        assert_eq!(
            other_port.missing_from(&json),
            Some("the address of the API server")
        );
        let renewed = Access {
            certificate: "renewed",
            ..access()
        };
        assert_eq!(renewed.missing_from(&json), Some("the current certificate"));
        let rekeyed = Access {
            key: "rekeyed",
            ..access()
        };
        assert_eq!(rekeyed.missing_from(&json), Some("the current key"));
        let moved = Access {
            authority: "another",
            ..access()
        };
        assert_eq!(moved.missing_from(&json), Some("the cluster authority"));
    }

    #[test]
    fn the_error_before_an_installation_names_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let error = print(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("hint: run `usernetes install` first"),
            "{error}"
        );
    }
}
