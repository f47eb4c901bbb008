//! The protocol between releases: words on a command line that one program writes and another one reads.
//!
//! None of them is for people, so `--help` hides them. They are frozen, because the two programs may be of different
//! releases: units of an older generation are started after an upgrade, `upgrade` runs the `install` of a later release, and
//! `rollback` runs that of an earlier one. A word may be added; a word that exists keeps its meaning. `tests/it/protocol.rs`
//! fails otherwise.

/// `usernetes install`, which is also for people.
pub const INSTALL: &str = "install";

/// `install --origin JSON`: `upgrade` has checked the bundle's signature already. The value is a
/// [`Verdict`](crate::signature::Verdict) as JSON, an object whose `origin` is `signed` (with `key` and `comment`),
/// `unsigned` or `unchecked`.
pub const ORIGIN: &str = "--origin";

/// `install --generation NUMBER`: `rollback` makes this existing generation current, with its own program.
pub const GENERATION: &str = "--generation";

/// `install --force`, which is also for people: `upgrade --force` says it.
pub const FORCE: &str = "--force";

/// `install --timeout SECONDS`, which is also for people: `upgrade --timeout` says it. Releases before 0.2 do not know it.
pub const TIMEOUT: &str = "--timeout";

/// `install --json`, which is also for people.
pub const JSON: &str = "--json";

/// `usernetes boot SERVICE`: the line that units start. The program must be called by its absolute path in a generation's
/// `bin/`. It becomes the service.
pub const BOOT: &str = "boot";

/// `usernetes boot rootlesskit-child`: RootlessKit runs it inside the namespaces that it has made.
pub const ROOTLESSKIT_CHILD: &str = "rootlesskit-child";

/// `usernetes boot load-images`: loads the user's images into the running container runtime. `usernetes image load` of the same
/// generation runs it. Releases before 0.2 do not know it.
pub const LOAD_IMAGES: &str = "load-images";

/// `usernetes certs renew --due`: the line that the service behind the daily timer starts, which is also for people.
pub const CERTS: &str = "certs";
/// See [`CERTS`].
pub const RENEW: &str = "renew";
/// See [`CERTS`].
pub const DUE: &str = "--due";

/// `usernetes backup --scheduled`: the line that the service behind the timer for backups starts, which is also for people.
pub const BACKUP: &str = "backup";
/// See [`BACKUP`].
pub const SCHEDULED: &str = "--scheduled";

/// `usernetes probe-namespaces`: enters namespaces of its own, for the checks of this machine. Both ends are always the same
/// program, so what they say to each other may change.
pub const PROBE_NAMESPACES: &str = "probe-namespaces";

/// The name by which CRI-O calls this program as its OCI runtime, through a link. It becomes the `crun` beside the program
/// that the link leads to.
pub const OCI_RUNTIME: &str = "oci-runtime";

/// The name by which containerd calls this program as its OCI runtime where no cgroup can be made. It becomes crun as well,
/// with an option that lets it make none. Releases before 0.2 do not know it.
pub const OCI_RUNTIME_WITHOUT_CGROUPS: &str = "oci-runtime-without-cgroups";

/// The name by which RootlessKit calls this program as its slirp4netns, through a link. It starts pasta. Releases before 0.2 do not
/// know it.
pub const PASTA_AS_SLIRP4NETNS: &str = "pasta-as-slirp4netns";

/// `usernetes probe-network JSON`: tries a network driver from inside namespaces that RootlessKit has made for that. `install` runs
/// it. Both ends are always the same program.
pub const PROBE_NETWORK: &str = "probe-network";

/// `usernetes pack-volumes DIRECTORY`: writes the data of volumes to stdout, as a tar archive. `backup` runs it in a user
/// namespace. Both ends are always the same program.
pub const PACK_VOLUMES: &str = "pack-volumes";

/// `usernetes unpack-volumes DIRECTORY`: makes the data of volumes from the archive on stdin. `restore` runs it in a user
/// namespace, with the program that it restores with.
pub const UNPACK_VOLUMES: &str = "unpack-volumes";

/// `usernetes defragment`: the line that the service behind another daily timer starts. It gives unused space of etcd's file
/// back, if there is enough of it.
pub const DEFRAGMENT: &str = "defragment";

/// `usernetes probe-peers ADDRESS:PORT…`: enters the cluster's namespaces, and says as JSON which of these addresses answer.
/// `join` and `node list` run it. Both ends are always the same program.
pub const PROBE_PEERS: &str = "probe-peers";
