//! Plans the authorities and the certificates that they issue.

use std::path::Path;

use super::super::certificate::{Certificate, rfc3339};
use super::super::files::{PUBLIC, SECRET};
use super::super::identity::{Authority, Leaf};
use super::super::key::Key;
use super::super::{MASTER, NODE, Renew};
use super::clock::{self, Witness};
use super::{Identity, MISSING, Planner, Signer};
use crate::error::{Error, Kind, Result};

impl Planner<'_> {
    pub(super) fn authority(&mut self, which: Authority) -> Result<Signer> {
        let file = self.path(MASTER, &format!("{}.pem", which.stem()));
        let key_file = self.path(MASTER, &format!("{}-key.pem", which.stem()));
        let key = Self::read_key(&key_file)?;
        let Some(certificate) = Self::read_certificate(&file)? else {
            let key = self.keep_or_make(key, key_file)?;
            let certificate = Certificate::authority(which, &key, self.now)?;
            self.write(
                |p| &mut p.certificates,
                file,
                certificate.pem.clone(),
                PUBLIC,
                MISSING,
            );
            return Ok(Signer {
                which,
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
        if let Some(fault) = certificate.time_fault(self.now) {
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
        Ok(Signer {
            which,
            certificate,
            key,
            made: false,
        })
    }

    /// Plans a leaf. `None` if its existing files do not belong together.
    pub(super) fn leaf(&mut self, leaf: &Leaf, signer: &Signer) -> Result<Option<Identity>> {
        let file = self.path(leaf.dir, &format!("{}.pem", leaf.stem));
        let key_file = self.path(leaf.dir, &format!("{}-key.pem", leaf.stem));
        let key = Self::read_key(&key_file)?;
        let certificate = Self::read_certificate(&file)?;
        if let Some(misfit) = certificate
            .as_ref()
            .and_then(|c| misfit(c, key.as_ref(), signer))
        {
            self.misfit(&file, misfit);
            return Ok(None);
        }

        let mut reason = MISSING.to_owned();
        if let Some(certificate) = certificate {
            if let Some(key) = &key {
                let renew = (self.renew == Renew::All).then(|| "was to be renewed".to_owned());
                let Some(fault) = certificate.fault(leaf, self.now).or(renew) else {
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
        let Some(signing_key) = &signer.key else {
            return Err(self.no_signing_key(signer.which, &file, &reason));
        };
        let certificate =
            Certificate::issue(leaf, &key, &signer.certificate, signing_key, self.now)?;
        self.write(
            |p| &mut p.certificates,
            file,
            certificate.pem.clone(),
            PUBLIC,
            &reason,
        );
        Ok(Some(Identity {
            certificate: certificate.pem,
            key: key.pem,
        }))
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
        } else {
            error.hint(format!("renew it yourself with its key, or {anew}"))
        }
    }

    fn no_signing_key(&self, which: Authority, file: &Path, reason: &str) -> Error {
        let key_file = self.path(MASTER, &format!("{}-key.pem", which.stem()));
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
    } else if certificate.issued_by(&signer.certificate) {
        None
    } else {
        let name = &certificate.issuer;
        let file = format!("`{MASTER}/{}.pem`", signer.which.stem());
        Some(if signer.made {
            format!("was issued by `{name}`, but {file} is missing")
        } else {
            format!("was issued by `{name}`, not with the key of {file}")
        })
    }
}
