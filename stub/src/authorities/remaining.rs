//! Who still uses the authorities from before, as far as can be known.

use std::time::{SystemTime, UNIX_EPOCH};

use super::authority;
use crate::cluster::Current;
use crate::error::{Error, Kind, Result};
use crate::nodes::{old_tokens, with_other_authority};
use crate::pki::{Rotation, old_token_key};

/// How long the kubelet may use a token of a pod before it asks for another one, in seconds. A token is for 3607 s, and the
/// kubelet replaces it after 80 % of that (kubernetes, `pkg/kubelet/token/token_manager.go`).
const TOKENS: i64 = 3600;

/// Fails if somebody would be locked out, and says who.
pub(super) fn refuse(current: &Current, present: &Rotation, now: SystemTime) -> Result<()> {
    let found = find(current, present, now)?;
    if found.is_empty() {
        return Ok(());
    }
    let error = Error::new(Kind::Failed, "the authorities from before are still in use");
    let error = found
        .iter()
        .fold(error, |error, (who, why)| error.detail(who, why));
    Err(error.hint("wait, or see to these, and run the same command again; with `--force` the authorities are replaced nevertheless, and what is named here is refused from then on"))
}

/// Who uses them, and what about it.
fn find(current: &Current, present: &Rotation, now: SystemTime) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = left_for_tokens(present, i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if left > 0 {
        let minutes = (left + 59) / 60;
        found.push((
            "pods".to_owned(),
            format!("all have tokens of the new key in {minutes} min"),
        ));
    }
    for file in current.outdated_kubeconfigs()? {
        found.push((
            file.display().to_string(),
            "has an old certificate: run `usernetes kubeconfig merge`".to_owned(),
        ));
    }
    if let Err(error) = ask(current, &mut found) {
        found.push((
            "API server".to_owned(),
            format!("does not say which machines and tokens there are: {error}"),
        ));
    }
    Ok(found)
}

/// Asks the API server for machines and tokens.
fn ask(current: &Current, found: &mut Vec<(String, String)>) -> Result<()> {
    let Some(client) = current.api()? else {
        return Err(Error::new(
            Kind::Failed,
            "it is not published on this machine",
        ));
    };
    let own = current.config.node_name.as_str();
    for node in with_other_authority(&client, own, &authority(current)?)? {
        found.push((
            format!("node {node}"),
            "follows within a day, or with `usernetes certs renew --due` there".to_owned(),
        ));
    }
    if let Some(key) = old_token_key(current.layout.config())? {
        for secret in old_tokens(&client, &key)? {
            found.push((
                format!("secret {secret}"),
                "has a token of the old key: delete it and make it again".to_owned(),
            ));
        }
    }
    Ok(())
}

/// For how many more seconds pods may have tokens of the old key. Not positive if none has.
fn left_for_tokens(present: &Rotation, now: i64) -> i64 {
    // A clock that was set back makes it no longer than it is.
    (present.since + TOKENS - now).min(TOKENS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Stage;

    #[test]
    fn pods_have_new_tokens_after_an_hour() {
        let present = Rotation {
            stage: Stage::Issue,
            settled: true,
            since: 1000,
        };
        for (now, left) in [(1000, 3600), (4599, 1), (4600, 0), (9999, -5399), (0, 3600)] {
            assert_eq!(left_for_tokens(&present, now), left, "{now}");
        }
    }
}
