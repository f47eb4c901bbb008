//! What the probe finds out, and what forbids it.

use std::path::Path;

use super::super::{Finding, Level, Machine, kernel, namespaces};
use super::{SUBIDS, config, machine, text};
use crate::config::{Cni, Cri, Target};

fn allowed(machine: &Machine, data_dir: &Path) -> Finding {
    let probed = namespaces::probe(machine);
    namespaces::allowed(machine, data_dir, probed.as_ref())
}

#[test]
fn what_forbids_namespaces() {
    let data = Path::new("/home/u/.local/share/usernetes");
    let (_dir, m) = machine(&[("/proc/sys/user/max_user_namespaces", "0\n")]);
    assert_eq!(
        allowed(&m, data).found,
        "user.max_user_namespaces is 0, which forbids user namespaces"
    );
    let (_dir, m) = machine(&[("/proc/sys/kernel/unprivileged_userns_clone", "0\n")]);
    insta::assert_snapshot!(text(allowed(&m, data)), @r"
    fatal user-namespaces: kernel.unprivileged_userns_clone is 0, which forbids user namespaces to all but root
          expected  kernel.unprivileged_userns_clone = 1 or more
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    echo kernel.unprivileged_userns_clone=1 >/etc/sysctl.d/99-usernetes-userns.conf || failed=1
    sysctl -q -p /etc/sysctl.d/99-usernetes-userns.conf || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    rm -f /etc/sysctl.d/99-usernetes-userns.conf || failed=1
    sysctl -q -w kernel.unprivileged_userns_clone=0 || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
    let apparmor = (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1\n",
    );
    let (_dir, m) = machine(&[apparmor]);
    insta::assert_snapshot!(text(allowed(&m, data)), @r#"
    fatal user-namespaces: AppArmor forbids user namespaces to programs without a profile
          expected  a profile for "/home/u/.local/share/usernetes/store/*-rootlesskit-*/**" in /etc/apparmor.d/usernetes
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    cat >/etc/apparmor.d/usernetes <<'PROFILE' || failed=1
    abi <abi/4.0>,
    include <tunables/global>
    profile usernetes "/home/u/.local/share/usernetes/store/*-rootlesskit-*/**" flags=(unconfined) {
      userns,
    }
    PROFILE
    apparmor_parser --replace /etc/apparmor.d/usernetes || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    apparmor_parser --remove /etc/apparmor.d/usernetes || true || failed=1
    rm -f /etc/apparmor.d/usernetes || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    "#);
    let profile = (
        "/etc/apparmor.d/usernetes",
        "x /home/u/.local/share/usernetes/store/*-rootlesskit-*/** y",
    );
    let (_dir, m) = machine(&[apparmor, profile]);
    assert_eq!(allowed(&m, data).level, Level::Note);
}

#[test]
fn a_probe_that_fails_says_why() {
    let (dir, mut m) = machine(&[(
        "/bin/probe",
        "#!/bin/sh\necho 'making a user namespace failed: EPERM'\n",
    )]);
    m.program = Some(dir.path().join("bin/probe"));
    let finding = allowed(&m, dir.path());
    assert_eq!(
        (finding.level, finding.found.as_str()),
        (Level::Fatal, "making a user namespace failed: EPERM")
    );
}

const WORKS: &str = "#!/bin/sh\necho unshared\nread word\necho mounted\necho bridge ok\n";

#[test]
fn ids_that_were_not_mapped_are_not_said_to_be() {
    let probed = |files: &[(&str, &str)]| {
        let (dir, mut m) = machine(&[&[("/bin/probe", WORKS)], files].concat());
        m.program = Some(dir.path().join("bin/probe"));
        let finding = allowed(&m, dir.path());
        (dir, finding.level, finding.found)
    };
    let unmapped = |files: &[(&str, &str)]| {
        let (_dir, level, found) = probed(files);
        assert_eq!(level, Level::Note);
        found
    };
    let maps = "#!/bin/sh\necho \"$*\" >\"$0.said\"\n";
    let (uids, gids) = (("/bin/newuidmap", maps), ("/bin/newgidmap", maps));
    let before = "made one and mounted a file system in it, but ids were not mapped";
    assert_eq!(
        unmapped(&[gids, ("/etc/subuid", SUBIDS), ("/etc/subgid", SUBIDS)]),
        format!("{before}: there is no `newuidmap` in PATH")
    );
    assert_eq!(
        unmapped(&[uids, gids, ("/etc/subuid", SUBIDS)]),
        format!("{before}: there are no ids for `newgidmap`")
    );

    // As of a directory service.
    let getsubids =
        "#!/bin/sh\ncase $1 in -g) echo 0: u 700000 65536 ;; *) echo 0: u 500000 65536 ;; esac\n";
    let (dir, level, found) = probed(&[uids, gids, ("/bin/getsubids", getsubids)]);
    assert_eq!(level, Level::Ok, "{found}");
    let said = |name: &str| {
        let text = fs_err::read_to_string(dir.path().join("bin").join(name)).unwrap();
        let (_pid, rest) = text.trim().split_once(' ').unwrap();
        rest.to_owned()
    };
    assert_eq!(said("newuidmap.said"), "0 1001 1 1 500000 65536");
    assert_eq!(said("newgidmap.said"), "0 1002 1 1 700000 65536");
}

#[test]
fn what_the_kernel_lacks() {
    let mut config = config();
    let answers = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    let stock = answers(&[
        "bridge ok",
        "veth ok",
        "br_netfilter no sysctl",
        "nat ok",
        "vxlan Operation not supported (os error 95)",
    ]);
    insta::assert_snapshot!(text(kernel::network(&config, &stock)), @r"
    fatal kernel-network: network namespaces lack br_netfilter (no sysctl)
          expected  br_netfilter: it lets services answer pods on the same bridge
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    modprobe -a br_netfilter || failed=1
    grep -qsx br_netfilter /etc/modules-load.d/usernetes.conf || echo br_netfilter >>/etc/modules-load.d/usernetes.conf || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    rm -f /etc/modules-load.d/usernetes.conf || failed=1
    # the modules are gone after the next boot
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
    config.start = Target::Etcd;
    assert_eq!(kernel::network(&config, &stock).level, Level::Warn);
    config.cri = Cri::None;
    assert_eq!(kernel::network(&config, &stock).level, Level::Ok);
    let mut config = super::config();
    let loaded = answers(&[
        "bridge ok",
        "veth ok",
        "br_netfilter ok",
        "nat ok",
        "vxlan Operation not supported (os error 95)",
    ]);
    let finding = kernel::network(&config, &loaded);
    assert_eq!(
        (finding.level, &*finding.found),
        (Level::Ok, "has bridge, veth, br_netfilter, nat")
    );
    config.cni = Cni::Flannel;
    insta::assert_snapshot!(text(kernel::network(&config, &loaded)), @r"
    fatal kernel-network: network namespaces lack vxlan (Operation not supported (os error 95))
          expected  vxlan: flannel connects machines with it
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    modprobe -a vxlan || failed=1
    grep -qsx vxlan /etc/modules-load.d/usernetes.conf || echo vxlan >>/etc/modules-load.d/usernetes.conf || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    rm -f /etc/modules-load.d/usernetes.conf || failed=1
    # the modules are gone after the next boot
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
    assert_eq!(kernel::network(&config, &[]).level, Level::Note);
}
