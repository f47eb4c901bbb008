//! Tests of `rollback`: an earlier generation gets its own configuration back, even if a later release has changed it.

use fs_err as fs;

use support::home::Said;
use support::stage::{Stage, pack};

fn config(stage: &Stage) -> std::path::PathBuf {
    stage.home.path().join(".config/usernetes/config.toml")
}

/// A stage with generations 1 and 2, of which the second is current, and the text of `config.toml` with the first one.
fn upgraded() -> (Stage, String) {
    let stage = Stage::new(&["etcd"]);
    let said = stage.install(&["--start=", "--cidr=10.0.77.0/24"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    // The user adds a comment.
    let text = fs::read_to_string(config(&stage)).unwrap() + "# mine\n";
    fs::write(config(&stage), &text).unwrap();
    assert_eq!(stage.install(&[]).code, Some(0));
    let next = stage.home.program("next", &pack("0.2.0", &["etcd"]));
    let mut command = stage.command(&next);
    let said = stage
        .home
        .run_command(command.args(["install", "--force", "--cidr=10.0.88.0/24"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.home.current().number(), 2);
    (stage, text)
}

fn rollback(stage: &Stage, number: &str) -> Said {
    let said = stage.usernetes(&["rollback", number]);
    assert_eq!(said.code, Some(0), "{said:?}");
    said
}

#[test]
fn each_generation_has_its_own() {
    let (stage, first) = upgraded();
    let second = fs::read_to_string(config(&stage)).unwrap();
    let said = rollback(&stage, "1");
    assert!(
        said.stderr
            .contains("network.rootlesskit: 10.0.88.0/24 → 10.0.77.0/24"),
        "{said:?}"
    );
    assert_eq!(fs::read_to_string(config(&stage)).unwrap(), first);
    assert!(
        install_installed(&stage)
            .stderr
            .ends_with("nothing to do\n")
    );
    rollback(&stage, "2");
    assert_eq!(fs::read_to_string(config(&stage)).unwrap(), second);
}

/// A later release has written a key and a table that this one does not know into the configuration and into the receipt.
#[test]
fn what_a_later_release_wrote_does_not_keep_it_from_working() {
    let (stage, first) = upgraded();
    let later = |text: &str| format!("speed = 9\n{text}\n[storage]\nclass = \"local\"\n");
    let second = later(&fs::read_to_string(config(&stage)).unwrap());
    fs::write(config(&stage), &second).unwrap();
    let record = stage.home.data().join("installed.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    json["config"] = later(json["config"].as_str().unwrap()).into();
    fs::write(&record, json.to_string()).unwrap();
    // `install` reports the key, because a person may have written it.
    let said = install_installed(&stage);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.stderr
            .contains("unknown field `speed`, expected one of `schema`, `cri`"),
        "{said:?}"
    );
    // Commands for the running cluster read the configuration from the receipt.
    assert_eq!(stage.usernetes(&["port", "list"]).code, Some(0));

    let said = rollback(&stage, "1");
    assert_eq!(stage.home.current().number(), 1);
    assert_eq!(fs::read_to_string(config(&stage)).unwrap(), first);
    // The later configuration is kept in another file.
    let old = config(&stage).with_extension("toml.old");
    assert!(
        said.stderr
            .contains("the previous file is $HOME/.config/usernetes/config.toml.old"),
        "{said:?}"
    );
    assert_eq!(fs::read_to_string(old).unwrap(), second);
    assert!(
        install_installed(&stage)
            .stderr
            .ends_with("nothing to do\n")
    );
}

/// Runs `install` with the installed command.
fn install_installed(stage: &Stage) -> Said {
    stage.usernetes(&["install", "--force"])
}
