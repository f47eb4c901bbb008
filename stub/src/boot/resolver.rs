//! The name servers of services that see the host's files. The host's `/etc/resolv.conf` often names one on the host's loopback
//! interface, such as 127.0.0.53 of systemd-resolved, and nothing answers at that address in the network namespace.

use std::io;
use std::path::Path;

use fs_err as fs;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::UnshareFlags;

use crate::config::Config;
use crate::error::{Context, Result};
use crate::files::write_atomically;
use crate::layout::Layout;
use crate::process::say;

/// The file with the name servers of a machine (resolv.conf(5)).
const FILE: &str = "/etc/resolv.conf";

/// Gives this process, and the program that replaces it, a `/etc/resolv.conf` with the name server that the network driver provides.
/// It forwards questions to the host's. This process must be root in the network namespace. If this fails, the service still
/// starts, because most clusters need no names of others.
pub(super) fn use_own(layout: &Layout, config: &Config) {
    if let Err(error) = mount(layout, config) {
        say(format!(
            "this service uses the host's name servers, which may not answer it: {error}"
        ));
    }
}

fn mount(layout: &Layout, config: &Config) -> Result<()> {
    let own = layout.runtime("resolv.conf");
    let host = fs::read_to_string(FILE).unwrap_or_default();
    write_atomically(&own, text(&host, config).as_bytes())?;
    // A link leads to the file of the program that manages it.
    let target = fs::canonicalize(FILE)?;
    // Only this process and its children see the mount.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of another flag than this one"
    )]
    let unshared = rustix::thread::unshare(UnshareFlags::NEWNS);
    unshared
        .and_then(|()| {
            // What the host unmounts is unmounted here, too, or its disks would stay busy.
            let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
            mount_change(Path::new("/"), slave)
        })
        .and_then(|()| mount_bind(&own, &target))
        .map_err(io::Error::from)
        .about(|| format!("cannot mount `{}` on `{}`", own.display(), target.display()))
}

/// The file's text: our name server, and the host's domains to search.
fn text(host: &str, config: &Config) -> String {
    let kept = |line: &&str| {
        ["search", "domain", "options"]
            .contains(&line.split_whitespace().next().unwrap_or_default())
    };
    let mut text = format!("nameserver {}\n", config.host_dns());
    for line in host.lines().filter(kept) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cni;

    #[test]
    fn the_name_server_is_ours_and_the_domains_are_the_hosts() {
        let config = Config::new("n".parse().unwrap(), Cni::Bridge);
        let host = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.org\n";
        insta::assert_snapshot!(text(host, &config), @r"
        nameserver 10.0.42.3
        options edns0 trust-ad
        search example.org
        ");
        assert_eq!(text("", &config), "nameserver 10.0.42.3\n");
    }
}
