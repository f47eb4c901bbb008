//! Making the machine's disk, kernel and initial ram disk out of Debian packages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::scenario::NAMES;

use crate::network::Place;
use crate::{Result, check};

/// What the machine has besides a minimal Debian: what a server with users on it has. The libraries are those that
/// Debian's own container programs link to; a bundle of static programs needs none of them. passt has the network driver `pasta`, nftables a firewall.
const PACKAGES: &str = "systemd systemd-sysv udev dbus dbus-user-session libpam-systemd libnss-systemd uidmap kmod procps \
    iproute2 openssh-server openssh-sftp-server util-linux busybox-static ca-certificates curl linux-image-cloud-amd64 \
    libglib2.0-0t64 libseccomp2 libcap2 libjson-c5 libfuse3-4 libyajl2 libslirp0 libnftnl11 libxtables12 libmnl0 libnfnetlink0 libnetfilter-conntrack3 libedit2 passt nftables";

/// Modules an administrator loads for rootless containers; an unprivileged user cannot.
const MODULES: &str = "fuse tun bridge br_netfilter veth overlay vxlan nf_tables nft_compat nft_chain_nat nft_masq nft_nat \
    nft_ct nft_fib_inet nft_reject_inet nft_numgen nft_limit ip_tables iptable_nat iptable_filter x_tables xt_MASQUERADE xt_addrtype \
    xt_comment xt_conntrack xt_mark xt_multiport xt_nat xt_tcpudp xt_statistic xt_recent";

/// What the kernel needs before it has a root file system.
const BOOT_MODULES: [&str; 6] = [
    "virtio",
    "virtio_ring",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
];

const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for m in /modules/*.ko; do /bin/busybox insmod $m; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /new || exec /bin/busybox sh
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root /new /sbin/init
";

/// The unprivileged user's name and number.
pub const USER: &str = "exampleuser";
const UID: u32 = 1001;

/// A machine ready to boot.
#[derive(Debug, Clone)]
pub struct Image {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    pub disk: PathBuf,
    pub key: PathBuf,
}

impl Image {
    /// Copies the disk, and puts a bundle into the user's home. That takes a second; through ssh it would take a minute.
    pub fn copy(&self, disk: &Path, bundle: &Path) -> Result<()> {
        check(
            Command::new("cp")
                .args(["--sparse=always", "--force"])
                .arg(&self.disk)
                .arg(disk),
        )?;
        let file = format!("/home/{USER}/usernetes-x86_64");
        let quoted = format!("\"{}\"", bundle.display());
        for request in [
            format!("write {quoted} {file}"),
            format!("set_inode_field {file} mode 0100755"),
            format!("set_inode_field {file} uid {UID}"),
            format!("set_inode_field {file} gid {UID}"),
        ] {
            let mut debugfs = Command::new("debugfs");
            debugfs.args(["-w", "-R", &request]).arg(disk);
            check(debugfs.stdout(Stdio::null()).stderr(Stdio::null()))?;
        }
        Ok(())
    }
}

/// Makes the image, or finds the one made earlier from the same suite and the same description.
pub fn prepare(suite: &str, cache: &Path) -> Result<Image> {
    let description = format!(
        "{suite} {PACKAGES} {MODULES} {INIT} {}",
        include_str!("image.rs")
    );
    let directory = cache.join(stub::digest::Sha256::of(description.as_bytes()).short(16));
    let image = Image {
        kernel: directory.join("vmlinuz"),
        initrd: directory.join("initrd.gz"),
        disk: directory.join("root.img"),
        key: directory.join("id"),
    };
    if directory.join("complete").exists() {
        return Ok(image);
    }
    eprintln!(
        "making the machine: Debian {suite}, in {} …",
        directory.display()
    );
    let _ = std::fs::remove_dir_all(&directory);
    let root = directory.join("root");
    std::fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    check(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&image.key),
    )?;
    let public_key = read(&image.key.with_extension("pub"))?;

    let base = builder::debian::apt::archive_base(None).map_err(|e| e.to_string())?;
    check(
        Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--mode=root"])
            .arg(format!(
                "--include={}",
                PACKAGES.split_whitespace().collect::<Vec<_>>().join(",")
            ))
            .args([
                "--aptopt=Acquire::Languages \"none\"",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
            ])
            .arg(suite)
            .arg(&root)
            .arg(format!("deb {base} {suite} main")),
    )?;
    configure(&root, &public_key)?;

    let modules = root.join("usr/lib/modules");
    let version = std::fs::read_dir(&modules)
        .ok()
        .and_then(|mut d| d.next())
        .and_then(std::result::Result::ok)
        .ok_or("the machine has no kernel")?
        .file_name();
    copy(
        &root
            .join("boot")
            .join(format!("vmlinuz-{}", version.display())),
        &image.kernel,
    )?;
    initrd(
        &root,
        &modules.join(&version),
        &directory.join("initrd"),
        &image.initrd,
    )?;

    check(
        Command::new("truncate")
            .args(["-s", "12G"])
            .arg(&image.disk),
    )?;
    check(
        Command::new("mkfs.ext4")
            .args(["-q", "-F", "-L", "root", "-O", "^has_journal", "-d"])
            .arg(&root)
            .arg(&image.disk),
    )?;
    for scratch in [&root, &directory.join("initrd")] {
        std::fs::remove_dir_all(scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    }
    write(&directory.join("complete"), "")?;
    Ok(image)
}

/// Users, network, services: what an administrator would have set up.
fn configure(root: &Path, public_key: &str) -> Result<()> {
    let chroot = |arguments: &[&str]| check(Command::new("chroot").arg(root).args(arguments));
    chroot(&[
        "useradd",
        "--create-home",
        "--uid",
        &UID.to_string(),
        "--shell",
        "/bin/bash",
        USER,
    ])?;
    let range = format!("{USER}:231072:65536\n");
    let modules = MODULES
        .split_whitespace()
        .fold(String::new(), |mut text, m| {
            let _ = writeln!(text, "{m}");
            text
        });
    let mut hosts = format!("127.0.0.1 localhost\n{} machine\n", Place::SHARED.address());
    for (number, name) in NAMES.iter().enumerate() {
        let _ = writeln!(hosts, "{} {name}", Place::of(number).address());
    }
    let files = [
        ("etc/subuid", range.as_str()),
        ("etc/subgid", &range),
        ("etc/hostname", "machine\n"),
        ("etc/hosts", &hosts),
        ("etc/fstab", "LABEL=root / ext4 defaults,noatime 0 1\n"),
        ("etc/resolv.conf", "nameserver 10.0.2.3\n"),
        ("etc/modules-load.d/usernetes.conf", &modules),
        (
            "etc/systemd/network/20-eth.network",
            &network(Place::SHARED, ""),
        ),
        (
            "etc/systemd/system/user@.service.d/delegate.conf",
            "[Service]\nDelegate=cpu cpuset io memory pids\n",
        ),
        (
            "etc/ssh/sshd_config.d/machine.conf",
            "UseDNS no\nPermitRootLogin prohibit-password\n",
        ),
        ("root/.ssh/authorized_keys", public_key),
        (&format!("home/{USER}/.ssh/authorized_keys"), public_key),
        (&format!("var/lib/systemd/linger/{USER}"), ""),
    ];
    for (path, text) in files {
        write(&root.join(path), text)?;
    }
    for (number, name) in NAMES.iter().enumerate() {
        let file = root.join(format!("etc/systemd/network/10-{name}.network"));
        let condition = format!("KernelCommandLine=vm.guest={name}\n");
        write(&file, &network(Place::of(number), &condition))?;
    }
    chroot(&[
        "chown",
        "-R",
        &format!("{UID}:{UID}"),
        &format!("/home/{USER}"),
    ])?;
    chroot(&[
        "chmod",
        "-R",
        "go=",
        "/root/.ssh",
        &format!("/home/{USER}/.ssh"),
    ])?;
    chroot(&["systemctl", "--quiet", "enable", "systemd-networkd", "ssh"])?;
    chroot(&[
        "systemctl",
        "--quiet",
        "mask",
        "systemd-networkd-wait-online.service",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "fstrim.timer",
        "dpkg-db-backup.timer",
    ])
}

/// The network of a machine, which knows from a condition that it is that one.
fn network(place: Place, condition: &str) -> String {
    let address = place.address();
    format!("[Match]\nName=e* vec*\n{condition}[Network]\nAddress={address}/24\nGateway=10.0.2.2\n")
}

fn initrd(root: &Path, modules: &Path, scratch: &Path, output: &Path) -> Result<()> {
    for directory in ["bin", "dev", "modules", "new"] {
        std::fs::create_dir_all(scratch.join(directory))
            .map_err(|e| format!("{}: {e}", scratch.display()))?;
    }
    copy(&root.join("usr/bin/busybox"), &scratch.join("bin/busybox"))?;
    for (index, name) in BOOT_MODULES.iter().enumerate() {
        // Numbered, so that the shell's sorting loads them in order. A module that is built in is not there.
        let script = "f=$(find \"$0\" -name \"$1.ko*\" | head -n 1); case $f in *.xz) xz -dc \"$f\" > \"$2\";; *.ko) cp \"$f\" \"$2\";; esac";
        let target = scratch.join(format!("modules/{index}-{name}.ko"));
        check(
            Command::new("sh")
                .args(["-c", script])
                .arg(modules)
                .arg(name)
                .arg(target),
        )?;
    }
    write(&scratch.join("init"), INIT)?;
    check(Command::new("chmod").arg("755").arg(scratch.join("init")))?;
    check(
        Command::new("sh")
            .args([
                "-c",
                "cd \"$0\" && find . | cpio --quiet -o -H newc | gzip -1 > \"$1\"",
            ])
            .arg(scratch)
            .arg(output),
    )
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|e| format!("{}: {e}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to)
        .map(drop)
        .map_err(|e| format!("{}: {e}", from.display()))
}
