//! Plans the other files: the keys of service accounts, the node's copy of the authority, and kubeconfigs.

use x509_parser::pem::Pem;

use super::super::certificate::Certificate;
use super::super::files::{self, PUBLIC, SECRET};
use super::super::identity::Access;
use super::{Identity, MISSING, Planner, Signer};
use crate::error::{Context as _, Error, Kind, Result};
use crate::kubeconfig;
use crate::layout::{Credential, Kubeconfig};

impl Planner<'_> {
    /// The key pair that signs the tokens of service accounts. The file with the public half may contain several keys, as
    /// during a rotation, or a certificate, as the shell scripts made it. The API server accepts both.
    pub(super) fn service_accounts(&mut self) -> Result<()> {
        let file = self.path(Credential::ServiceAccounts.certificate());
        let key_file = self.path(Credential::ServiceAccounts.key());
        let key = self.read_key(&key_file)?;
        let Some(text) = self.text(&file)? else {
            let key = self.keep_or_make(key, key_file)?;
            self.write(
                |p| &mut p.certificates,
                file,
                key.pair.public_key_pem(),
                PUBLIC,
                MISSING,
            );
            return Ok(());
        };
        let Some(key) = key else {
            return Err(Error::new(
                Kind::Input,
                format!("{}: the private half of this key is missing", file.display()),
            )
            .expected(format!("the key in `{}`", key_file.display()))
            .found("no such file")
            .hint(format!(
                "restore it from a backup, or move `{}` away and run the same command again, which makes a new pair and invalidates the tokens issued so far",
                file.display()
            )));
        };
        let public = key.public();
        let fits = Pem::iter_from_buffer(text.as_bytes())
            .map_while(std::result::Result::ok)
            .any(|block| {
                block.contents == public
                    || x509_parser::parse_x509_certificate(&block.contents)
                        .is_ok_and(|(_, x509)| x509.public_key().raw == public)
            });
        if !fits {
            self.misfit(
                &file,
                "does not contain the public half of its key".to_owned(),
            );
            return Ok(());
        }
        self.keep(key_file, SECRET)?;
        self.keep(file, PUBLIC)
    }

    pub(super) fn copy_for_node(&mut self, signer: &Signer) -> Result<()> {
        let file = self.path(Credential::NodeAuthority.certificate());
        let wanted = Certificate::parse_all(&signer.certificate.pem)?;
        let (fault, known) = match files::read(&file)? {
            None => (Some(MISSING), true),
            Some(text) => {
                let copies = Certificate::parse_all(&text).about(|| file.display())?;
                let same = copies.len() == wanted.len()
                    && copies.iter().zip(&wanted).all(|(a, b)| a.same_holder(b));
                let mut known = signer.known.iter().chain(&wanted);
                (
                    (!same).then_some("did not contain the same authorities"),
                    known.any(|one| copies.iter().any(|copy| copy.same_holder(one))),
                )
            }
        };
        match fault {
            None => self.keep(file, PUBLIC),
            Some(reason) if known => {
                let text = signer.certificate.pem.clone();
                self.write(|p| &mut p.copies, file, text, PUBLIC, reason);
                Ok(())
            }
            Some(_) => {
                let authority = Credential::ClusterAuthority.certificate();
                let authority = authority.display();
                self.misfit(
                    &file,
                    format!("is the certificate of another authority than `{authority}`"),
                );
                Ok(())
            }
        }
    }

    pub(super) fn kubeconfig(
        &mut self,
        access: &Access,
        authority: &Certificate,
        identity: &Identity,
    ) -> Result<()> {
        let file = self.path(access.kubeconfig.file());
        let kubeconfig = access.kubeconfig;
        let names = [
            kubeconfig.authority().certificate(),
            kubeconfig.credential().certificate(),
            kubeconfig.credential().key(),
        ]
        .map(|file| {
            file.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        });
        let [authority_file, certificate_file, key_file] = &names;
        let wanted = kubeconfig::Access {
            server: format!("https://{}", access.server),
            // The administrator's may be copied to another place.
            identity: if kubeconfig == Kubeconfig::Admin {
                kubeconfig::Identity::Embedded {
                    authority: &authority.pem,
                    certificate: &identity.certificate,
                    key: &identity.key,
                }
            } else {
                kubeconfig::Identity::Files {
                    authority: authority_file,
                    certificate: certificate_file,
                    key: key_file,
                }
            },
        };
        let reason = match files::read(&file)? {
            None => MISSING.to_owned(),
            Some(text) => match wanted.missing_from(&text) {
                None => return self.keep(file, SECRET),
                Some(what) => format!("did not contain {what}"),
            },
        };
        self.write(|p| &mut p.copies, file, wanted.to_json(), SECRET, &reason);
        Ok(())
    }
}
