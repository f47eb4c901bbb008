//! Snapshots of every unit, and a check by `systemd-analyze verify`.

use std::process::Command;

use super::*;
use crate::config::{Cni, Cri, DnsName};
use crate::layout::tests::example as layout;
use crate::services::{Service, all_unit_names};

/// The first release of systemd that knows every key, and one that does not.
const NEW: u32 = 254;
const OLD: u32 = 252;

fn config(cri: Cri, cni: Cni) -> Config {
    let mut config = Config::new(DnsName::new("node-1").unwrap(), cni);
    config.cri = cri;
    config
}

fn all_configs() -> impl Iterator<Item = Config> {
    let pairs = Cri::ALL
        .iter()
        .flat_map(|cri| Cni::ALL.iter().map(move |cni| (*cri, *cni)));
    pairs.map(|(cri, cni)| {
        let mut config = config(cri, cni);
        if cni == Cni::Bridge {
            config.backup.schedule = "daily".parse().unwrap();
        }
        config
    })
}

/// The values of a key in a unit: the words of all lines with that key.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .flat_map(str::split_whitespace)
        .collect()
}

#[test]
fn snapshot_of_every_unit() {
    let units = units(&config(Cri::Containerd, Cni::Flannel), &layout(), NEW);
    for (name, text) in &units {
        insta::assert_snapshot!(name.to_string(), text);
    }
}

#[test]
fn backups_have_a_timer_if_they_have_a_schedule() {
    let mut config = config(Cri::Containerd, Cni::Bridge);
    assert!(!units(&config, &layout(), NEW).contains_key("u7s-backup.timer"));
    config.backup.schedule = "daily".parse().unwrap();
    let daily = units(&config, &layout(), NEW);
    let wants = values(&daily["u7s-rootlesskit.service"], "Wants");
    assert_eq!(
        wants,
        [
            "u7s-ports.service",
            "u7s-certs.timer",
            "u7s-etcd-defrag.timer",
            "u7s-backup.timer"
        ]
    );
    insta::assert_snapshot!(
        [&*daily["u7s-backup.timer"], &*daily["u7s-backup.service"]].join("\n"),
        @r"
    [Unit]
    Description=Usernetes: make backups
    Documentation=https://github.com/rootless-containers/usernetes
    PartOf=u7s-rootlesskit.service

    [Timer]
    OnActiveSec=15min
    OnCalendar=daily

    [Unit]
    Description=Usernetes: make a backup that is due
    Documentation=https://github.com/rootless-containers/usernetes
    StartLimitIntervalSec=0

    [Service]
    Type=oneshot
    ExecStart=/home/u/.local/share/usernetes/generations/1/bin/usernetes backup --scheduled
    Environment=XDG_CONFIG_HOME=/home/u/.config XDG_DATA_HOME=/home/u/.local/share
    SyslogIdentifier=u7s-backup
    Restart=on-failure
    RestartSec=10min
    TimeoutStartSec=1h
    "
    );
    // Nobody knows how old a backup may be that is made at such times.
    config.backup.schedule = "Mon..Fri *-*-* 03:00".parse().unwrap();
    let timer = &units(&config, &layout(), NEW)["u7s-backup.timer"];
    assert!(
        timer.ends_with("[Timer]\nOnCalendar=Mon..Fri *-*-* 03:00\n"),
        "{timer}"
    );
}

#[test]
fn the_slice_has_the_limits_of_the_configuration() {
    let mut config = config(Cri::Containerd, Cni::Bridge);
    let mut slice = |memory: &str, cpus: &str| {
        config.resources.memory = memory.parse().unwrap();
        config.resources.cpus = cpus.parse().unwrap();
        units(&config, &layout(), NEW)["u7s.slice"].clone()
    };
    let slices = [slice("12GiB", "2.5"), slice("75%", "0.555")].join("\n");
    insta::assert_snapshot!(slices, @r"
    [Unit]
    Description=Usernetes: all services and pods
    Documentation=https://github.com/rootless-containers/usernetes
    StopWhenUnneeded=yes

    [Slice]
    CPUWeight=100
    MemoryMax=12288M
    CPUQuota=250%

    [Unit]
    Description=Usernetes: all services and pods
    Documentation=https://github.com/rootless-containers/usernetes
    StopWhenUnneeded=yes

    [Slice]
    CPUWeight=100
    MemoryMax=75%
    CPUQuota=56%
    ");
}

#[test]
fn there_are_only_units_that_the_configuration_needs() {
    let names = |cri, cni| {
        let units = units(&config(cri, cni), &layout(), NEW);
        let names = units.keys().map(UnitName::as_str);
        names.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!("names-crio-bridge", names(Cri::Crio, Cni::Bridge));
    insta::assert_snapshot!("names-no-cri", names(Cri::None, Cni::Flannel));
}

#[test]
fn an_older_systemd_gets_only_keys_it_knows() {
    for text in units(&config(Cri::Crio, Cni::Flannel), &layout(), OLD).values() {
        assert!(!text.contains("RestartSteps"), "{text}");
        assert!(!text.contains("RestartMaxDelaySec"), "{text}");
    }
}

#[test]
fn no_unit_names_one_that_does_not_exist() {
    let all = all_unit_names();
    for config in all_configs() {
        let units = units(&config, &layout(), NEW);
        for (name, text) in &units {
            assert!(all.contains(name) || *name == UnitName::slice(), "{name}");
            for key in ["BindsTo", "Wants", "Upholds", "After", "PartOf", "Slice"] {
                for value in values(text, key) {
                    assert!(units.contains_key(value), "{name}: {key}={value}");
                }
            }
        }
    }
}

/// Whether `first` stops before `second`, directly or by way of other units.
fn stops_before(units: &BTreeMap<UnitName, String>, first: &str, second: &str) -> bool {
    values(&units[first], "After")
        .iter()
        .any(|next| *next == second || stops_before(units, next, second))
}

/// systemd stops a unit before the units that its `After=` names.
#[test]
fn services_stop_before_the_services_they_need() {
    let units = units(&config(Cri::Containerd, Cni::Flannel), &layout(), NEW);
    let order = [
        vec!["u7s-flanneld"],
        vec!["u7s-kubelet-containerd", "u7s-kube-proxy"],
        vec!["u7s-kube-controller-manager", "u7s-kube-scheduler"],
        vec!["u7s-kube-apiserver"],
        vec!["u7s-etcd"],
        vec!["u7s-rootlesskit"],
    ];
    for (index, group) in order.iter().enumerate() {
        for (first, second) in group
            .iter()
            .flat_map(|f| order[index + 1..].iter().flatten().map(move |s| (f, s)))
        {
            // flannel starts after the kubelet but not after kube-proxy, because those two do not need each other.
            if (*first, *second) != ("u7s-flanneld", "u7s-kube-proxy") {
                let [first, second] = [first, second].map(|name| format!("{name}.service"));
                assert!(stops_before(&units, &first, &second), "{first} {second}");
            }
        }
    }
}

#[test]
fn every_service_stops_with_rootlesskit_and_is_started_again() {
    let units = units(&config(Cri::Crio, Cni::Flannel), &layout(), NEW);
    let services = units
        .keys()
        .filter(|name| Service::of_unit(name.as_str()).is_some());
    for name in services.filter(|n| **n != *"u7s-rootlesskit.service") {
        assert_eq!(
            values(&units[name], "BindsTo"),
            ["u7s-rootlesskit.service"],
            "{name}"
        );
        let upheld = units
            .values()
            .any(|text| values(text, "Upholds").contains(&name.as_str()));
        let beside = values(&units["u7s-rootlesskit.service"], "Wants").contains(&name.as_str());
        assert!(upheld || beside, "{name}");
    }
}

/// Writes the units of every configuration below directories with awkward names and lets `systemd-analyze` check them.
#[test]
fn systemd_analyze_finds_no_fault() {
    let version = Command::new("systemd-analyze").arg("--version").output();
    let Ok(version) = version else {
        eprintln!("no systemd-analyze on this machine: the units were not verified");
        return;
    };
    let version = String::from_utf8(version.stdout).unwrap();
    let systemd: u32 = version
        .split_whitespace()
        .nth(1)
        .unwrap()
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let homes = ["a b%c", "it's \"$a\" & ü"];
    for (config, prefix) in all_configs().flat_map(|config| homes.map(|h| (config.clone(), h))) {
        let home = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
        let below = |name: &str| home.path().join(name);
        let layout = Layout::new(
            below("config"),
            below("data"),
            "/run/user/1001/usernetes".into(),
            below("generation 1"),
        )
        .unwrap();
        let program = layout.program("usernetes");
        fs_err::create_dir_all(program.parent().unwrap()).unwrap();
        // Any program will do, because `systemd-analyze` does not run it.
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
        let directory = below("units");
        fs_err::create_dir(&directory).unwrap();
        let units = units(&config, &layout, systemd);
        for (name, text) in &units {
            fs_err::write(directory.join(name.as_str()), text).unwrap();
        }
        let output = Command::new("systemd-analyze")
            .args(["--user", "--man=no", "verify"])
            .args(units.keys().map(UnitName::as_str))
            .current_dir(&directory)
            .env("XDG_RUNTIME_DIR", home.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(
            String::from_utf8_lossy(&said),
            "",
            "{:?} {:?}",
            config.cri,
            config.cni
        );
        assert!(output.status.success(), "{}", output.status);
    }
}
