//! Plans the other files: the keys of service accounts, the node's copy of the authority, and kubeconfigs.

use x509_parser::pem::Pem;

use super::super::certificate::Certificate;
use super::super::files::{self, PUBLIC, SECRET};
use super::super::identity::Access;
use super::super::{MASTER, NODE};
use super::{Identity, MISSING, Planner};
use crate::error::{Error, Kind, Result};
use crate::kubeconfig;

impl Planner<'_> {
    /// The key pair that signs the tokens of service accounts. The file with the public half may contain several keys, as
    /// during a rotation, or a certificate, as the shell scripts made it. The API server accepts both.
    pub(super) fn service_accounts(&mut self) -> Result<()> {
        let file = self.path(MASTER, "service-account.pem");
        let key_file = self.path(MASTER, "service-account-key.pem");
        let key = Self::read_key(&key_file)?;
        let Some(text) = files::read(&file)? else {
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

    pub(super) fn copy_for_node(&mut self, authority: &Certificate) -> Result<()> {
        let file = self.path(NODE, "ca.pem");
        let Some(copy) = Self::read_certificate(&file)? else {
            self.write(
                |p| &mut p.copies,
                file,
                authority.pem.clone(),
                PUBLIC,
                MISSING,
            );
            return Ok(());
        };
        if copy.same_holder(authority) {
            return self.keep(file, PUBLIC);
        }
        self.misfit(
            &file,
            format!("is the certificate of another authority than `{MASTER}/ca.pem`"),
        );
        Ok(())
    }

    pub(super) fn kubeconfig(
        &mut self,
        access: &Access,
        authority: &Certificate,
        identity: &Identity,
    ) -> Result<()> {
        let file = self.path(access.dir, &format!("{}.kubeconfig", access.stem));
        let wanted = kubeconfig::Access {
            server: format!("https://{}", access.server),
            authority: &authority.pem,
            certificate: &identity.certificate,
            key: &identity.key,
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
