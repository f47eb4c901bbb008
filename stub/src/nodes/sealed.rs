//! The authorities of a cluster on their way to a machine that becomes another control plane: encrypted with a key that is only
//! in the token, so that whoever reads the cluster's secrets, or etcd's data, has nothing.

use std::collections::{BTreeMap, BTreeSet};

use fs_err as fs;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{private_directory, replace};
use crate::layout::{Credential, Layout, MASTER};
use crate::pki::Authority;

/// The key with which authorities are encrypted.
pub(super) type Key = [u8; 32];

/// What every control plane of a cluster has in common.
const SHARED: [Credential; 4] = [
    Credential::ClusterAuthority,
    Credential::EtcdAuthority,
    Credential::FrontProxyAuthority,
    Credential::ServiceAccounts,
];

/// A new key.
pub(super) fn new_key() -> Result<Key> {
    let mut key = Key::default();
    getrandom(&mut key, GetRandomFlags::empty()).map_err(std::io::Error::from)?;
    Ok(key)
}

/// The certificates and keys of the authorities and of service accounts, by the names of their files in `master/`.
#[derive(PartialEq, Eq)]
pub(crate) struct Authorities(BTreeMap<String, String>);

impl Authorities {
    /// Reads those of this machine.
    pub(super) fn read(layout: &Layout) -> Result<Self> {
        let files = names().map(|name| {
            let text = fs::read_to_string(layout.config().join(MASTER).join(&name))?;
            Ok((name, text))
        });
        files.collect::<Result<_>>().map(Self)
    }

    /// Encrypts them. `id` is the public part of the token: the result belongs to no other.
    pub(super) fn seal(&self, key: &Key, id: &str) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom(&mut nonce, GetRandomFlags::empty()).map_err(std::io::Error::from)?;
        let mut bytes = serde_json::to_vec(&self.0).map_err(std::io::Error::from)?;
        cipher(key)
            .and_then(|cipher| {
                let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(id));
                cipher.seal_in_place_append_tag(nonce, aad, &mut bytes).ok()
            })
            .ok_or_else(|| Error::new(Kind::Failed, "the authorities cannot be encrypted"))?;
        Ok([&nonce[..], &bytes].concat())
    }

    /// Decrypts them. Fails if they were encrypted with another key, or are not those of the cluster with this authority.
    pub(super) fn open(sealed: &[u8], key: &Key, id: &str, authority: Sha256) -> Result<Self> {
        let plain = sealed
            .split_at_checked(NONCE_LEN)
            .and_then(|(nonce, rest)| {
                let mut bytes = rest.to_vec();
                let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
                let plain = cipher(key)?
                    .open_in_place(nonce, Aad::from(id), &mut bytes)
                    .ok()?;
                serde_json::from_slice::<BTreeMap<String, String>>(plain).ok()
            });
        let wanted: BTreeSet<_> = names().collect();
        let whole = plain.filter(|files| files.keys().eq(&wanted));
        let damaged = || {
            Error::new(
                Kind::Integrity,
                "the cluster's authorities are not those that the token is for",
            )
            .hint("make another token there with `usernetes token create --control-plane`")
        };
        let files = whole.ok_or_else(damaged)?;
        let name = file_name(&Credential::ClusterAuthority.certificate());
        let found = Authority::parse(&files[&name]).about(|| name)?;
        if found.key_digest() != authority {
            return Err(damaged());
        }
        Ok(Self(files))
    }

    /// Writes them into a directory that has none. Afterwards they are on disk.
    pub(crate) fn write(&self, layout: &Layout) -> Result<()> {
        let dir = layout.config().join(MASTER);
        private_directory(layout.config())?;
        private_directory(&dir)?;
        for (name, text) in &self.0 {
            let mode = if name.ends_with("-key.pem") {
                0o600
            } else {
                0o644
            };
            replace(&dir.join(name), text.as_bytes(), mode)?;
        }
        Ok(())
    }
}

fn cipher(key: &Key) -> Option<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).ok()?;
    Some(LessSafeKey::new(key))
}

fn names() -> impl Iterator<Item = String> {
    let files = SHARED.iter().flat_map(|c| [c.certificate(), c.key()]);
    files.map(|file| file_name(&file))
}

fn file_name(path: &std::path::Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cni, Config, DnsName};
    use crate::host::Machine;
    use crate::pki;

    fn layout(dir: &std::path::Path) -> Layout {
        let at = |name: &str| dir.join(name);
        Layout::new(at("c"), at("d"), at("r"), at("g")).unwrap()
    }

    #[test]
    fn only_the_token_opens_them() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (from, to) = (layout(from.path()), layout(to.path()));
        let mut config = Config::new(DnsName::new("a").unwrap(), Cni::Flannel);
        config.machines.address = Some([192, 0, 2, 1].into());
        let now = std::time::SystemTime::now();
        let request = crate::cluster::pki_request(&config, &Machine::this());
        pki::ensure(from.config(), &request, pki::Renew::Due, now).unwrap();
        let authorities = Authorities::read(&from).unwrap();
        let ca = fs::read_to_string(from.certificate(Credential::ClusterAuthority)).unwrap();
        let digest = Authority::parse(&ca).unwrap().key_digest();
        let key = new_key().unwrap();
        let sealed = authorities.seal(&key, "abcdef").unwrap();
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains("PRIVATE KEY") && !text.contains("ca-key"));

        let opened = Authorities::open(&sealed, &key, "abcdef", digest).unwrap();
        opened.write(&to).unwrap();
        for credential in SHARED {
            for file in [credential.certificate(), credential.key()] {
                let read = |layout: &Layout| fs::read(layout.config().join(&file)).unwrap();
                assert_eq!(read(&from), read(&to), "{}", file.display());
            }
        }
        // The other machine makes its own certificates with them.
        config.node_name = DnsName::new("b").unwrap();
        let request = crate::cluster::pki_request(&config, &Machine::this());
        let made = pki::ensure(to.config(), &request, pki::Renew::Due, now).unwrap();
        assert!(!made.has(&Credential::ClusterAuthority.certificate()));
        assert!(made.has(&Credential::ApiServer.certificate()));

        let refused = [
            Authorities::open(&sealed, &new_key().unwrap(), "abcdef", digest),
            Authorities::open(&sealed, &key, "ghijkl", digest),
            Authorities::open(&sealed, &key, "abcdef", Sha256::of(b"other")),
            Authorities::open(&sealed[1..], &key, "abcdef", digest),
            Authorities::open(&[], &key, "abcdef", digest),
        ];
        for refused in refused {
            assert_eq!(refused.err().unwrap().kind(), Kind::Integrity);
        }
    }
}
