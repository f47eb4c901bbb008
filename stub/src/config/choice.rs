//! Settings that are one of a few words.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// Declares an enum whose variants have one text each, in the configuration as on the command line.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $what:literal, $($(#[$about:meta])* $variant:ident = $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub enum $name {
            $($(#[$about])* $variant,)*
        }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|c| format!("{:?}", c.as_str())).collect();
                    Error::new(Kind::Input, format!(concat!("unknown ", $what, " {:?}"), text))
                        .expected(all.join(", "))
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }
    };
}

choice! {
    /// The container runtime.
    Cri, "container runtime",
    /// containerd, with crun and runc.
    Containerd = "containerd",
    /// CRI-O, with crun.
    Crio = "crio",
    /// None: this machine runs the control plane and no pods.
    None = "",
}

choice! {
    /// How pods are connected.
    Cni, "pod network",
    /// One bridge on this machine.
    Bridge = "bridge",
    /// flannel with VXLAN, across machines.
    Flannel = "flannel",
}

/// The facts about a pod network that the configuration, the checks of the machine and the control plane need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniFacts {
    /// The default network of pods.
    pub pods: &'static str,
    /// Prefix lengths that the network of pods may have.
    pub prefixes: RangeInclusive<u8>,
    /// Whether the controller manager gives each node a part of it.
    pub network_per_node: bool,
}

impl Cni {
    /// The facts about it.
    #[must_use]
    pub fn facts(self) -> CniFacts {
        match self {
            // A full node has 110 pods.
            Self::Bridge => CniFacts {
                pods: "10.88.0.0/16",
                prefixes: 8..=25,
                network_per_node: false,
            },
            // Each node gets a /24.
            Self::Flannel => CniFacts {
                pods: "10.5.0.0/16",
                prefixes: 8..=22,
                network_per_node: true,
            },
        }
    }
}

choice! {
    /// The program that connects the namespaces with this machine's network.
    NetworkDriver, "network driver",
    /// slirp4netns, which is in the bundle.
    Slirp4netns = "slirp4netns",
    /// pasta, which this machine must have if it is not in the bundle.
    Pasta = "pasta",
}

choice! {
    /// What a machine does for its cluster.
    Role, "role",
    /// It runs the control plane, and pods as well if it has a container runtime.
    ControlPlane = "control-plane",
    /// It runs pods for the control plane of another machine.
    Worker = "worker",
}

choice! {
    /// A part of a cluster that people expect, and can do without.
    Addon, "addon",
    /// A default storage class: volumes are directories on this machine.
    Storage = "storage",
    /// The resource metrics of nodes and pods, for `kubectl top` and for autoscaling.
    Metrics = "metrics",
}

choice! {
    /// A systemd target.
    Target, "target",
    /// Everything.
    All = "u7s.target",
    /// The control plane and etcd.
    MasterWithEtcd = "u7s-master-with-etcd.target",
    /// The control plane.
    Master = "u7s-master.target",
    /// etcd.
    Etcd = "u7s-etcd.target",
    /// kubelet, kube-proxy and the pod network.
    Node = "u7s-node.target",
    /// Nothing: units are installed, not started.
    Nothing = "",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_lists_the_known_ones() {
        insta::assert_snapshot!("docker".parse::<Cri>().unwrap_err(), @r#"
        unknown container runtime "docker"
          expected  "containerd", "crio", ""
        "#);
    }
}
