//! The kubeconfigs of the components and of the administrator. `user_kubeconfig` merges entries into the user's own.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};
use crate::layout::Kubeconfig;

/// The name of the cluster, the user and the context in every kubeconfig that the project writes.
pub const NAME: &str = "usernetes";

/// The path of the administrator's kubeconfig in the configuration directory. It is for use on the host itself.
#[must_use]
pub fn admin_file(config_dir: &Path) -> PathBuf {
    config_dir.join(Kubeconfig::Admin.file())
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
    named(
        &json!({
            "server": server,
            "certificate-authority-data": BASE64.encode(authority),
        }),
        &json!({
            "client-certificate-data": BASE64.encode(certificate),
            "client-key-data": BASE64.encode(key),
        }),
    )
}

/// The cluster, user and context with our name.
fn named(cluster: &Value, user: &Value) -> [Value; 3] {
    [
        json!({ "name": NAME, "cluster": cluster }),
        json!({ "name": NAME, "user": user }),
        json!({ "name": NAME, "context": { "cluster": NAME, "user": NAME } }),
    ]
}

/// The facts that make up a kubeconfig: the server, and the identity with which to connect.
pub(crate) struct Access<'a> {
    pub(crate) server: String,
    pub(crate) identity: Identity<'a>,
}

/// How a kubeconfig holds the authority of the server, and the client's certificate and key.
pub(crate) enum Identity<'a> {
    /// It embeds their PEM texts, so it can be used anywhere, and must be written again when one of them changes.
    Embedded {
        authority: &'a str,
        certificate: &'a str,
        key: &'a str,
    },
    /// It names their files, which are in its own directory. A component that was started with it reads the certificate and
    /// the key again within five minutes after they have changed, and then connects anew (client-go,
    /// `transport/cert_rotation.go`).
    Files {
        authority: &'a str,
        certificate: &'a str,
        key: &'a str,
    },
}

impl Access<'_> {
    /// The kubeconfig. It is JSON, which every YAML parser reads.
    pub(crate) fn to_json(&self) -> String {
        let [cluster, user, context] = match self.identity {
            Identity::Embedded {
                authority,
                certificate,
                key,
            } => entries(&self.server, authority, certificate, key),
            // A relative path begins at the directory of the kubeconfig, so the home can be moved.
            Identity::Files {
                authority,
                certificate,
                key,
            } => named(
                &json!({ "server": self.server, "certificate-authority": authority }),
                &json!({ "client-certificate": certificate, "client-key": key }),
            ),
        };
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

    /// Names the first fact that a kubeconfig lacks; `None` if it has all. It searches for the values, so it works with our
    /// JSON and with the YAML that the shell scripts made with kubectl.
    pub(crate) fn missing_from(&self, text: &str) -> Option<&'static str> {
        let server = text
            .split(&self.server)
            .skip(1)
            .any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
        if !server {
            return Some("the address of the API server");
        }
        match self.identity {
            Identity::Embedded {
                authority,
                certificate,
                key,
            } => {
                let embedded = |pem: &str| text.contains(&BASE64.encode(pem));
                [
                    (embedded(authority), "the cluster authority"),
                    (embedded(certificate), "the current certificate"),
                    (embedded(key), "the current key"),
                ]
                .into_iter()
                .find_map(|(there, what)| (!there).then_some(what))
            }
            Identity::Files {
                authority,
                certificate,
                key,
            } => {
                let named = |file: &str| {
                    let mut words = text.split(|c: char| c.is_whitespace() || "\",".contains(c));
                    words.any(|word| word == file)
                };
                // Embedded data would be used instead of the files.
                let all = [authority, certificate, key].into_iter().all(named);
                (!all || text.contains("-data")).then_some("the names of the certificate files")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nca\n";
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nadmin\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nadmin\n";
    const SERVER: &str = "https://127.0.0.1:6443";

    fn embedded<'a>(authority: &'a str, certificate: &'a str, key: &'a str) -> Access<'a> {
        Access {
            server: SERVER.to_owned(),
            identity: Identity::Embedded {
                authority,
                certificate,
                key,
            },
        }
    }

    fn access() -> Access<'static> {
        embedded(AUTHORITY, CERTIFICATE, KEY)
    }

    fn files() -> Access<'static> {
        Access {
            server: SERVER.to_owned(),
            identity: Identity::Files {
                authority: "ca.pem",
                certificate: "kube-proxy.pem",
                key: "kube-proxy-key.pem",
            },
        }
    }

    /// The same values in kubectl's YAML.
    fn yaml(json: &str) -> String {
        let line = |line: &str| line.replace(['"', ','], "") + "\n";
        json.lines().map(line).collect()
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
    fn snapshot_of_a_kubeconfig_that_names_files() {
        insta::assert_snapshot!(files().to_json());
    }

    #[test]
    fn own_json_and_kubectls_yaml_are_recognised() {
        for access in [access(), files()] {
            let json = access.to_json();
            assert_eq!(access.missing_from(&json), None);
            assert_eq!(access.missing_from(&yaml(&json)), None);
        }
    }

    #[test]
    fn the_changed_part_is_named() {
        let json = access().to_json();
        let mut other_port = access();
        other_port.server = "https://127.0.0.1:644".to_owned();
        for (other, missing) in [
            (other_port, "the address of the API server"),
            (
                embedded("another", CERTIFICATE, KEY),
                "the cluster authority",
            ),
            (
                embedded(AUTHORITY, "renewed", KEY),
                "the current certificate",
            ),
            (
                embedded(AUTHORITY, CERTIFICATE, "rekeyed"),
                "the current key",
            ),
        ] {
            assert_eq!(other.missing_from(&json), Some(missing));
        }
    }

    #[test]
    fn an_embedded_certificate_is_not_a_named_one() {
        let missing = Some("the names of the certificate files");
        assert_eq!(files().missing_from(&access().to_json()), missing);
        let other = files().to_json().replace("kube-proxy.pem", "admin.pem");
        assert_eq!(files().missing_from(&other), missing);
        let both = files().to_json().replace(
            "\"kube-proxy-key.pem\"",
            "\"kube-proxy-key.pem\", \"client-key-data\": \"a2V5\"",
        );
        assert_eq!(files().missing_from(&both), missing);
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
