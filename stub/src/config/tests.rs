//! Tests of the configuration file as a whole.

use proptest::prelude::*;

use super::backup::tests::any_backups;
use super::port::tests::any_port_spec;
use super::resources::tests::any_resources;
use super::*;

fn example() -> Config {
    Config::new(DnsName::new("node-1").unwrap(), Cni::Bridge)
}

/// The error for the example's text after one replacement.
fn error(from: &str, to: &str) -> Error {
    let text = example().to_text();
    assert!(text.contains(from), "{from}");
    Config::parse(&text.replacen(from, to, 1)).unwrap_err()
}

#[test]
fn the_file_explains_every_key() {
    insta::assert_snapshot!(example().to_text());
}

#[test]
fn the_defaults_are_valid_and_survive_the_file() {
    for cni in Cni::ALL {
        let config = Config::new(DnsName::new("n").unwrap(), *cni);
        config.check().unwrap();
        assert_eq!(Config::parse(&config.to_text()).unwrap(), config);
    }
}

#[test]
fn derived_addresses() {
    let config = example();
    let addresses = [
        config.gateway(),
        config.host_dns(),
        config.node_ip(),
        config.api_service_ip(),
        config.cluster_dns(),
    ];
    let expected = [
        "10.0.42.2",
        "10.0.42.3",
        "10.0.42.100",
        "10.0.0.1",
        "10.0.0.10",
    ];
    assert_eq!(addresses.map(|a| a.to_string()), expected);
}

/// Errors one below the other.
fn all<const N: usize>(errors: [Error; N]) -> String {
    errors.map(|e| e.to_string()).join("\n\n")
}

#[test]
fn the_offending_line_is_shown() {
    let errors = [
        error(r#"cri = "containerd""#, r#"cri = "docker""#),
        error("10.0.0.0/24", "10.0.0.1/24"),
        error("127.0.0.1:6443:6443/tcp", "localhost:6443:6443/tcp"),
        error("start = ", "begin = "),
        error("node-1", "Node_1"),
        error("publish = [", "publish = "),
    ];
    insta::assert_snapshot!(all(errors), @r#"
    bad configuration
    TOML parse error at line 9, column 7
      |
    9 | cri = "docker"
      |       ^^^^^^^^
    unknown container runtime "docker"
      expected  "containerd", "crio", ""

    bad configuration
    TOML parse error at line 43, column 12
       |
    43 | services = "10.0.0.1/24"
       |            ^^^^^^^^^^^^^
    bad network `10.0.0.1/24`
      expected  `10.0.0.0/24`, which begins the network
      found     `10.0.0.1`, an address in the middle of it

    bad configuration
    TOML parse error at line 22, column 11
       |
    22 | publish = [
       |           ^
    bad published port `localhost:6443:6443/tcp`
      expected  `IP:PORT:CHILDPORT/PROTO`, for example `127.0.0.1:6443:6443/tcp`
      found     `localhost`, which is not an IP address

    bad configuration
    TOML parse error at line 35, column 1
       |
    35 | begin = "u7s.target"
       | ^^^^^
    unknown field `begin`, expected one of `schema`, `cri`, `cni`, `node_name`, `cluster_domain`, `publish`, `publish_services`, `without`, `start`, `network`, `resources`, `backup`, `machines`

    bad configuration
    TOML parse error at line 15, column 13
       |
    15 | node_name = "Node_1"
       |             ^^^^^^^^
    bad name "Node_1"
      expected  at most 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit
      found     the capital letter `N`

    bad configuration
    TOML parse error at line 23, column 30
       |
    23 |     "127.0.0.1:6443:6443/tcp",
       |                              ^
    key with no value, expected `=`
    "#);
}

#[test]
fn settings_that_do_not_go_together_are_named() {
    let node_target = example()
        .to_text()
        .replace("u7s.target\"\n", "u7s-node.target\"\n");
    let no_node = node_target.replace(r#"cri = "containerd""#, r#"cri = """#);
    let flannel = example().to_text().replace("\"bridge\"\n", "\"flannel\"\n");
    let errors = [
        error("schema = 1", "schema = 2"),
        error("10.0.42.0/24", "10.0.42.0/26"),
        error("10.88.0.0/16", "10.0.0.0/8"),
        error("10.0.0.0/24", "10.0.0.0/8"),
        error("    \"127", "    \"0.0.0.0:6443:80/tcp\",\n    \"127"),
        Config::parse(&no_node).unwrap_err(),
        Config::parse(&flannel.replace("10.88.0.0/16", "10.88.0.0/23")).unwrap_err(),
        error("dns = 10", "dns = 255"),
        error("cpu_weight = 100", "cpu_weight = 0"),
        error("mtu = 65520", "mtu = 1400"),
    ];
    insta::assert_snapshot!(all(errors), @r#"
    unknown configuration schema
      expected  `schema = 1`
      found     `schema = 2`

    hint: use the version of Usernetes that wrote it

    bad configuration: `network.rootlesskit` is too small
      expected  a prefix length from 8 to 25
      found     `10.0.42.0/26`

    hint: for example `10.0.42.0/24`

    bad configuration: `network.pods` overlaps `network.rootlesskit`
      expected  networks without a common address
      found     `10.0.0.0/8` and `10.0.42.0/24`

    hint: choose another network for `network.pods`

    bad configuration: `network.services` is too large
      expected  a prefix length from 12 to 26
      found     `10.0.0.0/8`

    hint: for example `10.0.0.0/24`

    bad configuration: `publish` has the same port of the host twice
      found  `0.0.0.0:6443:80/tcp` and `127.0.0.1:6443:6443/tcp`

    hint: remove one of them

    bad configuration: `start` needs a node, but `cri` says that there is none
      expected  `cri = "containerd"` or `cri = "crio"`
      found     `cri = ""`

    hint: start `u7s-master-with-etcd.target`, or choose a container runtime

    bad configuration: `network.pods` is too small
      expected  a prefix length from 8 to 22
      found     `10.88.0.0/23`

    hint: for example `10.88.0.0/22`

    bad configuration: `network.dns` is out of range
      expected  a number from 2 to 254
      found     `255`

    bad configuration: `resources.cpu_weight` is out of range
      expected  a number from 1 to 10000
      found     `0`

    bad configuration: `network.mtu` is out of range
      expected  a number from 1500 to 65520
      found     `1400`
    "#);
}

#[test]
fn a_missing_file_says_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let error = Config::read(&path).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(dir.path().to_str().unwrap(), "DIR"), @r"
    DIR/config.toml: no such file
      expected  the configuration that `install` writes

    hint: run `usernetes install` first
    ");
    fs_err::write(&path, "schema = 1\nspeed = 9\n").unwrap();
    let error = Config::read(&path).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(dir.path().to_str().unwrap(), "DIR"), @r"
    DIR/config.toml: bad configuration
    TOML parse error at line 2, column 1
      |
    2 | speed = 9
      | ^^^^^
    unknown field `speed`, expected one of `schema`, `cri`, `cni`, `node_name`, `cluster_domain`, `publish`, `publish_services`, `without`, `start`, `network`, `resources`, `backup`, `machines`

    hint: correct the file, or move it away and run `usernetes install` again, which writes a new one
    ");
}

#[test]
fn a_key_that_is_missing_has_its_default() {
    let text = example().to_text();
    let lines: Vec<_> = text.lines().collect();
    for key in [
        "schema",
        "cri",
        "cni",
        "cluster_domain",
        "publish_services",
        "without",
        "start",
        "rootlesskit",
        "services",
        "pods",
        "driver",
        "memory",
        "cpus",
        "cpu_weight",
        "pod_pids",
        "role",
        "address",
        "endpoints",
        "mtu",
        "api_port",
        "kubelet_port",
        "vxlan_port",
        "schedule",
        "keep",
        "dir",
    ] {
        let others = |line: &&&str| !line.starts_with(&format!("{key} = "));
        let others: Vec<_> = lines.iter().filter(others).copied().collect();
        // Two tables have a key of this name.
        let count = if key == "mtu" { 2 } else { 1 };
        assert_eq!(others.len(), lines.len() - count, "{key}");
        assert_eq!(
            Config::parse(&others.join("\n")).unwrap(),
            example(),
            "{key}"
        );
    }
    let flannel = Config::parse("node_name = \"n\"\ncni = \"flannel\"\n").unwrap();
    let mut expected = Config::new(DnsName::new("n").unwrap(), Cni::Flannel);
    // Without this key, an earlier release wrote the text.
    expected.network.dns = 53;
    assert_eq!(flannel, expected);
    assert_eq!(flannel.cluster_dns().to_string(), "10.0.0.53");
    assert!(Config::parse("").is_ok());
}

/// As a later release could write it.
#[test]
fn a_later_releases_keys_are_unknown_only_to_a_person() {
    let later = example().to_text().replace("cri = ", "speed = 9\ncri = ");
    let later = later.replace("pods = ", "ipv6 = \"fd00::/64\"\npods = ");
    let later = format!("{later}disk = \"1TiB\"\n\n[storage]\nclass = \"local\"\n");
    assert_eq!(Config::parse_of_any_release(&later).unwrap(), example());
    let speed = later.lines().take(20).collect::<Vec<_>>().join("\n");
    let error = Config::parse(&speed).unwrap_err().to_string();
    assert!(
        error.contains("unknown field `speed`, expected one of `schema`, `cri`, "),
        "{error}"
    );
    let error = Config::parse("[network]\nipv6 = 1\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(
            "unknown field `ipv6`, expected one of `rootlesskit`, `services`, `pods`, `dns`"
        ),
        "{error}"
    );
    // Another form is another form.
    let error = Config::parse_of_any_release("schema = 2\n").unwrap_err();
    assert_eq!(error.message(), "unknown configuration schema");
    assert!(Config::parse_of_any_release("cri = \"docker\"\n").is_err());
}

/// Every key that is written is one that [`Config::parse_of_any_release`] leaves in.
#[test]
fn nothing_that_is_written_is_left_out() {
    let mut config = example();
    config.cri = Cri::Crio;
    config.cluster_domain = DnsName::new("example.org").unwrap();
    config.publish.clear();
    config.publish_services = default("192.0.2.7");
    config.without = Addon::ALL.to_vec();
    config.start = Target::Nothing;
    config.network = Network {
        rootlesskit: default("10.1.42.0/24"),
        services: default("10.96.0.0/24"),
        pods: default("10.99.0.0/16"),
        dns: 53,
        driver: NetworkDriver::Pasta,
        mtu: 9000,
    };
    config.resources = Resources {
        memory: default("75%"),
        cpus: default("2.5"),
        cpu_weight: 50,
        pod_pids: 1000,
    };
    config.machines = Machines {
        role: Role::Worker,
        address: Some([192, 0, 2, 7].into()),
        endpoints: vec!["192.0.2.1:7443".parse().unwrap()],
        mtu: 9000,
        api_port: 7443.try_into().unwrap(),
        kubelet_port: 20250.try_into().unwrap(),
        vxlan_port: 18472.try_into().unwrap(),
        several_control_planes: true,
    };
    config.backup = Backups {
        schedule: default("weekly"),
        keep: 3,
        dir: default("/srv/backups"),
    };
    assert_eq!(
        Config::parse_of_any_release(&config.to_text()).unwrap(),
        config
    );
}

/// `texts` holds a text of each form that a release or a commit has written, in their order. A change of
/// [`Config::to_text`] adds a file; none is ever changed or removed.
#[test]
fn every_older_text_is_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/texts");
    let mut expected = Config::new(DnsName::new("node-1").unwrap(), Cni::Flannel);
    expected.cri = Cri::Crio;
    expected
        .publish
        .push("0.0.0.0:30080:10.0.42.100:30080/udp".parse().unwrap());
    expected.start = Target::MasterWithEtcd;
    expected.network.services = default("10.96.0.0/16");
    expected.network.dns = 53;
    let mut texts = Vec::new();
    for entry in fs_err::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = fs_err::read_to_string(&path).unwrap();
        for config in [Config::parse(&text), Config::parse_of_any_release(&text)] {
            assert_eq!(config.unwrap(), expected, "{}", path.display());
        }
        texts.push(text);
    }
    let now = expected.to_text();
    assert!(
        texts.contains(&now),
        "add this text to the directory `texts`:\n{now}"
    );
}

proptest! {
    #[test]
    fn whatever_is_valid_survives_the_file(
        cri in proptest::sample::select(Cri::ALL),
        cni in proptest::sample::select(Cni::ALL),
        start in proptest::sample::select(Target::ALL),
        publish in proptest::collection::vec(any_port_spec(), 0..4),
        name in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\\.?[a-z]",
        third in 0u8..=255,
        resources in any_resources(),
        backup in any_backups(),
        dns in 0u32..=255,
    ) {
        let mut config = Config::new(DnsName::new(name).unwrap(), cni);
        config.cri = cri;
        config.start = start;
        config.publish = publish;
        config.network.services = Cidr::new(Ipv4Addr::new(10, 96, third, 0), 24).unwrap();
        config.network.dns = dns;
        config.resources = resources;
        config.backup = backup;
        match config.check() {
            Ok(()) => prop_assert_eq!(Config::parse(&config.to_text()).unwrap(), config),
            Err(_) => prop_assert!(Config::parse(&config.to_text()).is_err()),
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}") {
        let _ = Config::parse(&text);
    }
}

#[test]
fn a_file_saved_by_another_systems_editor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let text = format!("\u{feff}{}", example().to_text());
    fs_err::write(&path, &text).unwrap();
    assert_eq!(Config::read(&path).unwrap(), example());
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs_err::write(&path, &utf16).unwrap();
    let error = Config::read(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    let shown = error
        .to_string()
        .replace(&path.display().to_string(), "FILE");
    insta::assert_snapshot!(shown, @r"
    FILE: this is not text in UTF-8
      expected  UTF-8
      found     UTF-16, with a byte order mark

    hint: convert it with `iconv -f UTF-16 -t UTF-8`, or save it as UTF-8 in an editor
    ");
    assert_eq!(fs_err::read(&path).unwrap(), utf16, "it is left alone");
}
