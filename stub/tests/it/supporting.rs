//! Tests of the commands for those who help: `support-bundle`, `doctor --fix-script`, `completion`.

use std::path::Path;
use std::process::Command;

use fs_err as fs;

use support::machine::Machine;
use support::stage::Stage;

/// All files below a directory, with their texts.
fn texts(dir: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(texts(&path));
        } else {
            all.push((
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    all
}

#[test]
fn a_support_bundle_has_everything_but_secrets() {
    const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    // A component that writes the worst into its log: a real key of this cluster, in two forms, and tokens.
    let script = format!(
        "#!/bin/sh\nkey=$HOME/.config/usernetes/master/ca-key.pem\ncat \"$key\"\ntr '\\n' '|' <\"$key\"\necho\n\
         echo \"token: s3cr3t-of-u8er from $HOME/x\"\necho 'Authorization: Bearer {TOKEN}'\necho 'join abcdef.0123456789abcdef'\n"
    );
    stage.home.program("programs/journalctl", script.as_bytes());
    let out = stage.home.path().join("support.tar.gz");
    let run = || {
        let program = stage.home.data().join("current/bin/usernetes");
        let mut command = stage.command(&program);
        command.env("USER", "u8er").arg("support-bundle").arg(&out);
        stage.home.run_command(&mut command)
    };
    let said = run();
    assert_eq!(said.code, Some(0), "{said:?}");
    for part in [
        "doctor.json",
        "status.json",
        "config/config.toml",
        "log/etcd.log",
    ] {
        assert!(said.stdout.contains(part), "{part}: {said:?}");
    }
    assert!(
        !said.stdout.contains("cluster/"),
        "it does not run: {said:?}"
    );
    let unpacked = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("xzf").arg(&out).current_dir(unpacked.path());
    assert!(tar.status().unwrap().success());
    let top = unpacked.path().join("usernetes-support");
    let files = texts(&top);
    let read = |name: &str| fs::read_to_string(top.join(name)).unwrap();
    for name in [
        "doctor.json",
        "status.json",
        "versions.json",
        "certificates.json",
        "config/installed.json",
    ] {
        serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();
    }
    assert!(read("config/units/u7s-etcd.service").contains("ExecStart=$HOME/.local"));
    assert!(read("log/etcd.log").contains("Authorization: Bearer [removed]"));

    let mut secrets = vec![
        "PRIVATE KEY".to_owned(),
        "-----BEGIN".to_owned(),
        TOKEN.to_owned(),
        "s3cr3t".to_owned(),
        "abcdef.0123456789abcdef".to_owned(),
        stage.home.path().display().to_string(),
    ];
    for dir in ["master", "node"] {
        for (file, text) in texts(&stage.home.path().join(".config/usernetes").join(dir)) {
            if file.ends_with("-key.pem") {
                secrets.extend(text.lines().map(str::to_owned));
            } else if file.ends_with(".kubeconfig") {
                let data = text
                    .lines()
                    .filter_map(|l| l.trim().strip_prefix("client-key-data: "));
                secrets.extend(data.map(str::to_owned));
            }
        }
    }
    // The test really looks for keys.
    assert!(secrets.len() > 30, "{}", secrets.len());
    for (file, text) in &files {
        for secret in secrets.iter().filter(|secret| secret.len() > 5) {
            assert!(!text.contains(secret.as_str()), "{file} has {secret}");
        }
    }
    // It does not replace a file of somebody.
    let said = run();
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[test]
fn a_support_bundle_is_possible_before_anything_is_installed() {
    let stage = Stage::new(&["etcd"]);
    let out = stage.home.path().join("support.tar.gz");
    let said = stage.usernetes_of_bundle(&["support-bundle", out.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.contains("doctor.json") && out.exists(),
        "{said:?}"
    );
    assert!(!stage.home.data().exists());
}

#[test]
fn the_fix_script_is_the_block_alone() {
    let stage = Stage::new(&["etcd"]);
    let Some(machine) = Machine::fit(&stage.home) else {
        return;
    };
    let doctor = |words: &[&str]| {
        let mut command = stage.command(&stage.bundle);
        machine.show_to(&mut command);
        stage.home.run_command(command.arg("doctor").args(words))
    };
    let block = |said: &str| -> Option<String> {
        let json: serde_json::Value = serde_json::from_str(said).unwrap();
        json["admin"].as_str().map(str::to_owned)
    };
    let wanted = block(&doctor(&["--json"]).stdout).unwrap_or_default();
    let said = doctor(&["--fix-script"]);
    assert_eq!((said.code, said.stdout), (Some(0), wanted));
    // Without subordinate ids there is something to be fixed.
    machine.file("etc/subuid", "");
    let wanted = block(&doctor(&["--json"]).stdout).unwrap();
    let said = doctor(&["--fix-script"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.stdout, wanted);
    assert!(said.stdout.starts_with("sudo sh -ux <<'EOF'\n") && said.stdout.ends_with("EOF\n"));
    assert_eq!(doctor(&["--fix-script", "--json"]).code, Some(2));
}

#[test]
fn completions_know_every_command_and_no_hidden_word() {
    let stage = Stage::new(&["etcd"]);
    for shell in ["bash", "zsh", "fish"] {
        let said = stage.usernetes_of_bundle(&["completion", shell]);
        assert_eq!(said.code, Some(0), "{said:?}");
        for word in [
            "support-bundle",
            "kubeconfig",
            "unpublish",
            "fix-script",
            "pki",
        ] {
            assert!(said.stdout.contains(word), "{shell}: {word}");
        }
        assert!(!said.stdout.contains("probe-namespaces"), "{shell}");
        let file = stage.home.path().join(shell);
        fs::write(&file, &said.stdout).unwrap();
        // A shell that is not here cannot say whether it can read it.
        if let Ok(status) = Command::new(shell).arg("-n").arg(&file).status() {
            assert!(status.success(), "{shell}");
        }
    }
    assert_eq!(
        stage.usernetes_of_bundle(&["completion", "tcsh"]).code,
        Some(2)
    );
}
