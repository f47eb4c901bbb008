//! Tests of `image load|list|rm`: here with a cluster that is stopped.

use std::io::Write as _;

use fs_err as fs;
use support::images::save;
use support::stage::Stage;

#[test]
fn images_of_ones_own_are_kept_in_files_and_in_backups() {
    let stage = Stage::new(&["etcd"]);
    let archive = stage.home.path().join("tool.tar");
    save(&archive, "docker.io/library/tool:1", "first");
    let file = archive.to_str().unwrap();
    let said = stage.usernetes_of_bundle(&["image", "load", file]);
    assert!(said.stderr.contains("nothing is installed"), "{said:?}");
    stage.install(&["--start="]);
    let said = stage.usernetes(&["image", "load", file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("the cluster is stopped, and will load them when it starts"),
        "{said:?}"
    );
    assert!(
        said.stdout
            .contains("docker.io/library/tool:1  own   stopped"),
        "{said:?}"
    );
    let kept = stage.names(".local/share/usernetes/images");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].starts_with("docker.io_library_tool_1-"), "{kept:?}");

    // A newer one of the same name takes its place.
    let digest = || {
        let said = stage.usernetes(&["image", "list", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(json["images"].as_array().unwrap().len(), 1, "{json}");
        json["images"][0]["digest"].as_str().unwrap().to_owned()
    };
    let first = digest();
    save(&archive, "docker.io/library/tool:1", "second");
    assert_eq!(stage.usernetes(&["image", "load", file]).code, Some(0));
    assert_ne!(digest(), first);
    assert_eq!(stage.names(".local/share/usernetes/images"), kept);

    let backup = stage.home.path().join("backup");
    let said = stage.usernetes(&["backup", backup.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let mut tar = std::process::Command::new("tar");
    let list = tar.arg("tf").arg(&backup).output().unwrap().stdout;
    let list = String::from_utf8(list).unwrap();
    assert!(list.contains(&format!("images/{}\n", kept[0])), "{list}");

    // What cannot be used changes nothing.
    fs::OpenOptions::new()
        .write(true)
        .open(&archive)
        .unwrap()
        .write_all(b"\x1f\x8b")
        .unwrap();
    let said = stage.usernetes(&["image", "load", file]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stderr.contains("is compressed"), "{said:?}");
    let said = stage.usernetes(&["image", "rm", "other:1"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert_eq!(stage.names(".local/share/usernetes/images"), kept);

    let said = stage.usernetes(&["image", "rm", "tool:1"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.names(".local/share/usernetes/images"), [""; 0]);
}

#[test]
fn a_machine_without_pods_has_no_images() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start=", "--cri="]);
    let said = stage.usernetes(&["image", "list"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr.contains("this machine runs no pods"),
        "{said:?}"
    );
}
