//! Configurations: what is read is written and read again to the same value.

use stub::config::Config;

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let of_any = Config::parse_of_any_release(text);
    if let Ok(config) = Config::parse(text) {
        survives(&config);
        let of_any = of_any.expect("this release's texts are of some release");
        assert_eq!(of_any, config);
    } else if let Ok(config) = of_any {
        survives(&config);
    }
}

fn survives(config: &Config) {
    let text = config.to_text();
    assert_eq!(&Config::parse(&text).expect("it was written by us"), config);
    // What `check` promises.
    let network = config.network;
    assert!(network.services.contains(config.cluster_dns()));
    assert!(network.services.contains(config.api_service_ip()));
    assert!(network.rootlesskit.contains(config.node_ip()));
    assert_ne!(config.cluster_dns(), config.api_service_ip());
    // systemd reads it as it is, between other words.
    let schedule = config.backup.schedule.as_str();
    let known = |c: char| c.is_ascii_alphanumeric() || " *.,:/-".contains(c);
    assert!(schedule.chars().all(known), "{schedule:?}");
    for port in config.all_ports() {
        assert_eq!(port.to_string().parse().ok(), Some(port));
    }
}
