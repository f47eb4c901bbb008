//! What is no certificate of its own: service account keys, copies, kubeconfigs.

use x509_parser::pem::Pem;

use super::super::certificate::Certificate;
use super::super::files::{self, PUBLIC, SECRET};
use super::super::identity::Access;
use super::super::{MASTER, NODE};
use super::{Identity, MISSING, Planner};
use crate::error::{Error, Kind, Result};
use crate::kubeconfig;

impl Planner<'_> {
    /// The key pair that signs service account tokens. The public half may hold several keys, as during a rotation,
    /// and may be a certificate, as the shell scripts made it: the API server takes both.
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
                "restore it from a backup, or move `{}` away to have a new pair made; tokens issued so far are then void",
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
            format!("is another authority than `{MASTER}/ca.pem`"),
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
                Some(what) => format!("did not carry {what}"),
            },
        };
        self.write(|p| &mut p.copies, file, wanted.to_json(), SECRET, &reason);
        Ok(())
    }
}
