//! Plans the authorities and the certificates that they issue.

use std::path::Path;

use super::super::certificate::{Certificate, rfc3339};
use super::super::files::{PUBLIC, SECRET};
use super::super::identity::{Authority, Leaf};
use super::super::key::Key;
use super::super::{MASTER, NODE, OTHER_ISSUER, Renew, TO_BE_RENEWED};
use super::clock::{self, Witness};
use super::{Identity, MISSING, Planner, Signer};
use crate::error::{Error, Kind, Result};

impl Planner<'_> {
    pub(super) fn authority(&mut self, which: Authority) -> Result<Signer> {
        let file = self.path(which.credential().certificate());
        let key_file = self.path(which.credential().key());
        let key = self.read_key(&key_file)?;
        let Some(certificate) = self.read_certificate(&file)? else {
            let key = self.keep_or_make(key, key_file)?;
            let certificate = Certificate::authority(which.common_name(), &key, self.now)?;
            self.write(
                |p| &mut p.certificates,
                file,
                certificate.pem.clone(),
                PUBLIC,
                MISSING,
            );
            return Ok(Signer {
                which,
                known: vec![certificate.clone()],
                certificate,
                key: Some(key),
                made: true,
            });
        };

        let wrong = |what: &str| Error::new(Kind::Input, format!("{}: {what}", file.display()));
        if !certificate.authority {
            return Err(wrong(&format!("this certificate cannot be the {which}"))
                .expected("a certificate that may sign certificates")
                .found(format!(
                    "a certificate that may not, issued to `{}`",
                    certificate.subject
                ))
                .hint(format!(
                    "restore `{}` and its key from a backup",
                    file.display()
                )));
        }
        // One that is about to end is being replaced, if a replacement is under way.
        let replaced = self.rotation.is_some() && certificate.is_valid(self.now);
        if let Some(fault) = certificate.time_fault(self.now).filter(|_| !replaced) {
            let error = wrong(&format!("the certificate of the {which} {fault}"))
                .expected("an authority that is valid now and for at least 30 more days");
            return Err(self.out_of_time(error, &certificate));
        }
        if key
            .as_ref()
            .is_some_and(|k| k.public() != certificate.public_key)
        {
            return Err(wrong(&format!(
                "the certificate of the {which} does not belong to its key"
            ))
            .expected(format!(
                "the certificate of the key in `{}`",
                key_file.display()
            ))
            .found("the certificate of another key")
            .hint("restore both files from the same backup"));
        }
        if key.is_some() {
            self.keep(key_file, SECRET)?;
        }
        self.keep(file, PUBLIC)?;
        let known = match &self.rotation {
            Some(rotation) => rotation.known(which),
            None => Certificate::parse_all(&certificate.pem)?,
        };
        Ok(Signer {
            which,
            certificate,
            key,
            made: false,
            known,
        })
    }

    /// Plans a leaf. `None` if its existing files do not belong together.
    pub(super) fn leaf(&mut self, leaf: &Leaf, signer: &Signer) -> Result<Option<Identity>> {
        let file = self.path(leaf.credential.certificate());
        let key_file = self.path(leaf.credential.key());
        let key = self.read_key(&key_file)?;
        let certificate = self.read_certificate(&file)?;
        if let Some(misfit) = certificate
            .as_ref()
            .and_then(|c| misfit(c, key.as_ref(), signer))
        {
            self.misfit(&file, misfit);
            return Ok(None);
        }

        let expired = certificate
            .as_ref()
            .is_some_and(|c| c.has_expired(self.now));
        let mut reason = MISSING.to_owned();
        if let Some(certificate) = certificate {
            if let Some(key) = &key {
                let renew = || (self.renew == Renew::All).then(|| TO_BE_RENEWED.to_owned());
                let other = || {
                    let (issuer, _) = self.issuer(leaf, signer);
                    let other = !certificate.issued_by(issuer);
                    other.then(|| OTHER_ISSUER.to_owned())
                };
                let fault = certificate.fault(leaf, self.now).or_else(other);
                let Some(fault) = fault.or_else(renew) else {
                    self.keep(key_file, SECRET)?;
                    self.keep(file, PUBLIC)?;
                    return Ok(Some(Identity {
                        certificate: certificate.pem,
                        key: key.pem.clone(),
                    }));
                };
                reason = fault;
            } else {
                self.plan.remove.push(file.clone());
                "had no key".clone_into(&mut reason);
            }
        }
        let key = self.keep_or_make(key, key_file)?;
        let (issuer, Some(signing_key)) = self.issuer(leaf, signer) else {
            return Err(self.no_signing_key(signer.which, &file, &reason));
        };
        let certificate = Certificate::issue(leaf, &key, issuer, signing_key, self.now)?;
        self.write(
            |p| &mut p.certificates,
            file,
            certificate.pem.clone(),
            PUBLIC,
            &reason,
        );
        if let Some(made) = self.plan.report.made.last_mut() {
            made.expired = expired;
        }
        Ok(Some(Identity {
            certificate: certificate.pem,
            key: key.pem,
        }))
    }

    /// The authority that issues a leaf, and its key if that exists.
    fn issuer<'a>(&'a self, leaf: &Leaf, signer: &'a Signer) -> (&'a Certificate, Option<&'a Key>) {
        let rotation = self.rotation.as_ref();
        match rotation.and_then(|rotation| rotation.late(signer.which)) {
            Some((old, key)) if leaf.is_shown_to_others() => (old, Some(key)),
            _ => (&signer.certificate, signer.key.as_ref()),
        }
    }

    fn out_of_time(&self, error: Error, authority: &Certificate) -> Error {
        let anew = format!(
            "move `{}` and `{}` away and run the same command again, which makes new certificates; every client then needs its new kubeconfig",
            self.config_dir.join(MASTER).display(),
            self.config_dir.join(NODE).display(),
        );
        let error = error
            .found(format!(
                "not before {}, not after {}",
                rfc3339(authority.not_before),
                rfc3339(authority.not_after)
            ))
            .detail("now", rfc3339(self.now));
        if self.now < authority.not_before {
            clock::explain(error, self.now, Witness::of_machine().as_ref(), &anew)
        } else if authority.has_expired(self.now) {
            error.hint(format!("renew it yourself with its key, or {anew}"))
        } else {
            error.hint("replace it while the cluster runs: `usernetes certs rotate-authorities`")
        }
    }

    fn no_signing_key(&self, which: Authority, file: &Path, reason: &str) -> Error {
        let key_file = self.path(which.credential().key());
        Error::new(
            Kind::Input,
            format!(
                "{}: cannot be issued without the key of the {which}",
                file.display()
            ),
        )
        .expected(format!("the key in `{}`", key_file.display()))
        .found("no such file")
        .detail("needed", format!("because the certificate {reason}"))
        .hint(format!("restore `{}` from a backup", key_file.display()))
    }
}

/// The reason why this PKI cannot have made a certificate; `None` if it can.
fn misfit(certificate: &Certificate, key: Option<&Key>, signer: &Signer) -> Option<String> {
    if key.is_some_and(|key| key.public() != certificate.public_key) {
        Some("does not belong to its key".to_owned())
    } else if signer.known.iter().any(|one| certificate.issued_by(one)) {
        None
    } else {
        let name = &certificate.issuer;
        let file = signer.which.credential().certificate();
        let file = format!("`{}`", file.display());
        Some(if signer.made {
            format!("was issued by `{name}`, but {file} is missing")
        } else {
            format!("was issued by `{name}`, not with the key of {file}")
        })
    }
}
