//! `join --endpoint`: a worker follows the control plane to another address.

use std::net::SocketAddrV4;

use crate::api::Client;
use crate::cluster::{Current, remember_endpoints};
use crate::error::{Error, Kind, Result};
use crate::layout::Kubeconfig;
use crate::progress::Progress;
use crate::store::Store;

/// Makes these API servers those of this worker, once each of them has accepted its certificate. Nothing is restarted: the
/// service `api-proxy` notices it within seconds. Afterwards the configuration says so on disk.
pub fn follow(endpoints: &[SocketAddrV4], progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    let current = Current::read()?;
    if !current.config.machines.is_worker() {
        return Err(
            Error::new(Kind::Usage, "this machine is no worker of a cluster")
                .hint("to let it join one, give `usernetes join` a token and no `--endpoint`"),
        );
    }
    for endpoint in endpoints {
        let client = Client::new((*endpoint).into(), &current.layout, Kubeconfig::Kubelet)?;
        let answer = client.get("/readyz").map_err(|error| {
            error.hint("name the address and port of an API server of this cluster; `usernetes status` on its machine shows whether it runs")
        })?;
        if answer.status != 200 {
            return Err(Error::new(
                Kind::Failed,
                format!("the API server at {endpoint} is not ready for this machine"),
            )
            .expected("200 for `/readyz`")
            .found(answer.status)
            .hint(
                "if this machine was removed from the cluster, let it join again with a new token",
            ));
        }
    }
    let (mut applied, mut written) = (current.config.clone(), current.written()?);
    store.sign()?;
    for config in [&mut applied, &mut written] {
        config.machines.endpoints = endpoints.to_vec();
        config.check()?;
    }
    current.set_config(&written, &applied)?;
    remember_endpoints(&current.layout, endpoints)?;
    let list: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    progress.line(format!("the API servers are {}", list.join(", ")));
    Ok(())
}
