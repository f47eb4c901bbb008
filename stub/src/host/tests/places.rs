//! Disks, ports and networks.

use crate::host::CheckId;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::StatVfsMountFlags;

use super::super::{Level, Machine, Manager, check, disk, ports, report, routes};
use super::{config, machine, text};
use crate::config::{Network, PortSpec, Role};

#[test]
fn disks() {
    let judge = |magic, flags| {
        disk::judge(
            "/home/u/.local/share/usernetes",
            "/home",
            Some(magic),
            flags,
        )
    };
    let ext4 = 0xef53;
    let none = StatVfsMountFlags::empty();
    assert_eq!(judge(ext4, none).level, Level::Ok);
    assert_eq!(judge(ext4, StatVfsMountFlags::NOSUID).level, Level::Note);
    assert!(judge(ext4, StatVfsMountFlags::RDONLY).prevents_installing());
    insta::assert_snapshot!(text(judge(ext4, StatVfsMountFlags::NOEXEC)), @r"
    fatal data-dir: /home/u/.local/share/usernetes is on /home, which is mounted noexec
          expected  a file system from which programs may be run
          fix       set XDG_DATA_HOME to a directory of yours on a local disk, or ask an administrator to remove the mount option `noexec`
    ");
    insta::assert_snapshot!(text(judge(0x6969, none)), @r"
    fatal data-dir: /home/u/.local/share/usernetes is on /home, which is NFS
          expected  a local file system: containers' files belong to other user ids, and etcd needs a fast disk
          fix       set XDG_DATA_HOME to a directory of yours on a local disk
    ");
}

fn port(number: u16) -> PortSpec {
    format!("127.0.0.1:{number}:6443/tcp").parse().unwrap()
}

#[test]
fn a_port_in_use_and_its_owner() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let number = listener.local_addr().unwrap().port();
    let this = Machine::this();
    let mut config = config();
    config.publish = vec![port(number)];
    let findings = ports::bound(&this, &config, Path::new("/nowhere"));
    let program = std::env::current_exe().unwrap();
    let expected = format!(
        "127.0.0.1:{number}/tcp is taken by your process {}, {}",
        std::process::id(),
        program.display()
    );
    assert_eq!(
        (findings[0].level, &findings[0].found),
        (Level::Fatal, &expected)
    );
    // What runs out of our own store may keep it, even if the way there is a link.
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    symlink(program.parent().unwrap(), &link).unwrap();
    let this = Machine {
        program: None,
        ..this
    };
    let level = |data_dir: &Path| {
        let manager = Manager::ask(&this);
        let findings = check(&this, &manager, &config, data_dir, dir.path(), None);
        findings
            .iter()
            .find(|f| f.id == CheckId::Ports)
            .unwrap()
            .level
    };
    assert_eq!(level(&link), Level::Ok);
    assert_eq!(level(dir.path()), Level::Fatal);
}

#[test]
fn apparmor_is_told_where_the_program_really_is() {
    let apparmor = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    let (dir, m) = machine(&[(apparmor, "1\n"), ("/var/home/u/file", "")]);
    let real = fs_err::canonicalize(dir.path()).unwrap();
    symlink("var/home", real.join("home")).unwrap();
    let data = real.join("home/u/.local/share/usernetes");
    let findings = check(&m, &Manager::ask(&m), &config(), &data, &real, None);
    let finding = findings
        .iter()
        .find(|f| f.id == CheckId::UserNamespaces)
        .unwrap();
    let expected = format!(
        "a profile for \"{}/var/home/u/.local/share/usernetes/store/*-rootlesskit-*/**\" in /etc/apparmor.d/usernetes",
        real.display()
    );
    assert_eq!(finding.expected, expected);
}

#[test]
fn an_address_of_another_machine() {
    let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 198.51.100.4\n        /32 host LOCAL\n";
    let (_dir, m) = machine(&[("/proc/net/fib_trie", trie)]);
    let mut config = config();
    config.publish = vec!["192.0.2.7:6443:6443/tcp".parse().unwrap()];
    let findings = ports::bound(&m, &config, Path::new("/data"));
    // The address may come back, and nothing else depends on it.
    insta::assert_snapshot!(report(&findings), @r"
    warn  ports: 192.0.2.7:6443/tcp is to be published, but this machine has no address 192.0.2.7
          expected  one of 198.51.100.4; until then, the cluster runs without it
          fix       publish it on an address of this machine, or on all its present and future addresses with `--publish 0.0.0.0:6443:6443/tcp`
    ");
}

#[test]
fn a_port_of_another_user_has_no_process() {
    let line = |address: &str| {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        format!(
            "{head}   0: {address}:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000   117        0 4242 1 0\n"
        )
    };
    let listening = line("0100007F");
    let (_dir, m) = machine(&[("/proc/net/tcp", listening.as_str())]);
    let taken = ports::taken(&m, &PortSpec::API, Path::new("/data")).unwrap();
    insta::assert_snapshot!(text(taken), @r"
    fatal ports: 127.0.0.1:6443/tcp is taken by a process of user id 117
          expected  a free port
          fix       stop that process, or choose another port, for example `--publish 127.0.0.1:16443:6443/tcp`
    ");
    let elsewhere = line("0200007F");
    let (_dir, m) = machine(&[("/proc/net/tcp", elsewhere.as_str())]);
    assert_eq!(ports::holder(&m, &PortSpec::API), None);
    let everywhere = line("00000000000000000000000000000000");
    let (_dir, m) = machine(&[("/proc/net/tcp6", everywhere.as_str())]);
    assert_eq!(
        ports::holder(&m, &PortSpec::API),
        Some(ports::Holder::Other { uid: 117 })
    );
    let holder = |bound: &str, port: &str| {
        let (_dir, m) = machine(&[("/proc/net/tcp6", line(bound).as_str())]);
        ports::holder(&m, &port.parse().unwrap()).is_some()
    };
    let loopback = "00000000000000000000000001000000";
    assert!(holder(loopback, "[::1]:6443:6443/tcp"));
    assert!(holder(loopback, "[::]:6443:6443/tcp"));
    assert!(!holder(loopback, "[2001:db8::7]:6443:6443/tcp"));
    assert!(!holder(loopback, "0.0.0.0:6443:6443/tcp"));
    // As programs bind IPv4 addresses that know only IPv6.
    let mapped = "0000000000000000FFFF00000100007F";
    assert!(holder(mapped, "127.0.0.1:6443:6443/tcp"));
    assert!(!holder(mapped, "[::]:6443:6443/tcp"));
}

#[test]
fn ports_of_root() {
    let (_dir, m) = machine(&[("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n")]);
    assert_eq!(ports::privileged(&m, &config()), None);
    let mut config = config();
    config.publish = vec![port(443)];
    insta::assert_snapshot!(text(ports::privileged(&m, &config).unwrap()), @r"
    fatal privileged-ports: port 443 is to be published, but only root may use ports below 1024
          expected  `/proc/sys/net/ipv4/ip_unprivileged_port_start` at most 443
          fix       ask an administrator to run the commands below, or publish a port from 1024 upwards
    sudo sh -ux <<'EOF'
    failed=0
    echo net.ipv4.ip_unprivileged_port_start=443 >/etc/sysctl.d/99-usernetes-ports.conf || failed=1
    sysctl -q -p /etc/sysctl.d/99-usernetes-ports.conf || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    rm -f /etc/sysctl.d/99-usernetes-ports.conf || failed=1
    sysctl -q -w net.ipv4.ip_unprivileged_port_start=1024 || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
}

#[test]
fn routes_in_the_way() {
    let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth0\t0000000A\t00000000\t0001\t0\t0\t100\t0000FFFF\t0\t0\t0\n\
        wg0\t0000400A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    let (_dir, m) = machine(&[("/proc/net/route", routes)]);
    let findings = routes::collisions(&m, &config(), None);
    insta::assert_snapshot!(report(&findings), @r"
    fatal networks: `network.rootlesskit` is 10.0.42.0/24, but this machine has a route to 10.0.0.0/16 by eth0
          expected  a network this machine has no route to: the cluster could not reach the machines there
          fix       choose another network with --cidr NETWORK, for example 10.65.0.0/24
    fatal networks: `network.services` is 10.0.0.0/24, but this machine has a route to 10.0.0.0/16 by eth0
          expected  a network this machine has no route to: the cluster could not reach the machines there
          fix       choose another network with --services NETWORK, for example 10.66.0.0/24
    ");
    // A cluster that has data keeps the networks that it has; another one is still refused.
    let kept = Network {
        services: "10.96.0.0/24".parse().unwrap(),
        ..config().network
    };
    let findings = routes::collisions(&m, &config(), Some(&kept));
    insta::assert_snapshot!(report(&findings), @r"
    warn  networks: `network.rootlesskit` is 10.0.42.0/24, but this machine has a route to 10.0.0.0/16 by eth0
          expected  a network this machine has no route to
          fix       the cluster goes on as before; only programs inside it do not reach the machines at those addresses while the route is there
    fatal networks: `network.services` is 10.0.0.0/24, but this machine has a route to 10.0.0.0/16 by eth0
          expected  a network this machine has no route to: the cluster could not reach the machines there
          fix       choose another network with --services NETWORK, for example 10.65.0.0/24
    ");
    // A worker has the networks of the cluster that it joins.
    let mut worker = config();
    worker.machines.role = Role::Worker;
    let findings = routes::collisions(&m, &worker, None);
    insta::assert_snapshot!(report(&findings[1..]), @r"
    fatal networks: `network.services` is 10.0.0.0/24, but this machine has a route to 10.0.0.0/16 by eth0
          expected  a network this machine has no route to: the cluster could not reach the machines there
          fix       all machines of the cluster have this network: take the route away, or make the cluster with another network, --services NETWORK, for example 10.66.0.0/24
    ");
    let (_dir, m) = machine(&[("/proc/net/route", routes.lines().next().unwrap())]);
    assert_eq!(
        routes::collisions(&m, &config(), None)[0].found,
        "no route leads to 10.0.42.0/24, 10.0.0.0/24, 10.88.0.0/16"
    );
}
