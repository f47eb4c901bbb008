//! `pki init`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;

use super::install::ClusterSettings;
use crate::beforehand::{self, Cluster, Member};
use crate::cidr::Cidr;
use crate::error::Result;
use crate::progress::Progress;
use crate::shell::word;

#[derive(Debug, Subcommand)]
pub(super) enum Pki {
    /// Make one directory for each machine, with its certificates, keys and configuration, in a new directory
    ///
    /// Copy each directory to its machine, and run `install --pki` there. No machine needs a token then. Only the directory of
    /// the machine with the control plane has the keys of the authorities.
    Init {
        /// The machine with the control plane: its name in the cluster, and the address at which the others reach it
        #[arg(long, value_name = "NAME=ADDRESS")]
        master: Member,
        /// A worker, in the same way; repeat it for more of them
        #[arg(long, value_name = "NAME=ADDRESS", required = true)]
        node: Vec<Member>,
        /// Network between each machine and the cluster [default: 10.0.42.0/24]
        #[arg(long, value_name = "NETWORK")]
        cidr: Option<Cidr>,
        /// Network of services [default: 10.0.0.0/24]
        #[arg(long, value_name = "NETWORK")]
        services: Option<Cidr>,
        /// Network of pods [default: 10.5.0.0/16]
        #[arg(long, value_name = "NETWORK")]
        pods: Option<Cidr>,
        #[command(flatten)]
        settings: ClusterSettings,
        /// The directory to make
        dir: PathBuf,
    },
}

impl Pki {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let Self::Init {
            master,
            node,
            cidr,
            services,
            pods,
            settings,
            dir,
        } = self;
        let cluster = Cluster {
            master: master.clone(),
            nodes: node.clone(),
            cidr: *cidr,
            services: *services,
            pods: *pods,
            machines: settings.flags(),
        };
        beforehand::init(&cluster, dir, SystemTime::now())?;
        progress.line(next(&cluster, dir).trim_end());
        Ok(())
    }
}

/// What was made, and what comes next.
fn next(cluster: &Cluster, dir: &Path) -> String {
    let of = |member: &Member| word(&dir.join(member.name.as_str()).to_string_lossy());
    // Without a `/` at its end.
    let shown = dir.components().as_path().display();
    let all: Vec<_> = [&cluster.master]
        .into_iter()
        .chain(&cluster.nodes)
        .collect();
    let mut text = format!(
        "{shown} has a directory for each of {} machines; copy each to its machine, and only there:\n",
        all.len()
    );
    for member in &all {
        let _ = writeln!(text, "  scp -r {} {}:", of(member), member.address);
    }
    text.push_str("then install, on each machine with the file of the release:\n");
    for member in &all {
        let name = &member.name;
        let _ = writeln!(text, "  on {name}: ./usernetes-x86_64 install --pki {name}");
    }
    let _ = writeln!(
        text,
        "`usernetes node list` on {} shows them; then remove {shown} and the copies: whoever has {} can make certificates of this cluster",
        cluster.master.name,
        of(&cluster.master)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_its_command() {
        let member = |text: &str| text.parse::<Member>().unwrap();
        let cluster = Cluster {
            master: member("a=192.0.2.10"),
            nodes: vec![member("b=192.0.2.11"), member("c=192.0.2.12")],
            cidr: None,
            services: None,
            pods: None,
            machines: crate::install::MachineFlags::default(),
        };
        let blank = next(&cluster, Path::new("my pki/"));
        assert!(blank.starts_with("my pki has a directory"), "{blank}");
        assert!(
            blank.contains("  scp -r 'my pki/b' 192.0.2.11:\n"),
            "{blank}"
        );
        insta::assert_snapshot!(next(&cluster, Path::new("pki")), @"
        pki has a directory for each of 3 machines; copy each to its machine, and only there:
          scp -r pki/a 192.0.2.10:
          scp -r pki/b 192.0.2.11:
          scp -r pki/c 192.0.2.12:
        then install, on each machine with the file of the release:
          on a: ./usernetes-x86_64 install --pki a
          on b: ./usernetes-x86_64 install --pki b
          on c: ./usernetes-x86_64 install --pki c
        `usernetes node list` on a shows them; then remove pki and the copies: whoever has pki/a can make certificates of this cluster
        ");
    }
}
