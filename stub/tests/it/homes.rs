//! Tests with special characters in the path of the home: it works, or `install` refuses it before anything is written.

use std::path::PathBuf;

use fs_err as fs;

use support::home::{Home, Said, program};
use support::pack::Recipe;

/// Makes a home with this name and runs `install` in it, without a service manager.
fn install_in(name: &str) -> (Home, PathBuf, Said) {
    let base = Home::of_mortal();
    let bundle = base.program("bundle", &Recipe::new("0.1.0", "3.5.30").runnable().pack());
    let home = base.path().join(name);
    base.directory(&home);
    let mut command = base.command(&bundle);
    command.env("HOME", &home).args(["install", "--start="]);
    let said = base.run_command(&mut command);
    (base, home, said)
}

#[test]
fn homes_with_unusual_names_work() {
    let long = "h".repeat(180);
    for name in [
        "o'brien", "\"x\"", "a b", "a&b", "50%h", "$HOME", "Müller", "[x]*?{y}", "a=b#c", &long,
    ] {
        let (base, home, said) = install_in(name);
        assert_eq!(said.code, Some(0), "{name}: {said:?}");
        let unit = home.join(".config/systemd/user/u7s-etcd.service");
        let unit = fs::read_to_string(unit).unwrap();
        let start = unit.lines().find(|l| l.starts_with("ExecStart=")).unwrap();
        // These are the only characters that systemd refuses in the path of a program.
        let by_shell = start.starts_with("ExecStart=/bin/sh -c ");
        assert_eq!(by_shell, name.contains(['\'', '"']), "{start}");
        let program = home.join(".local/share/usernetes/current/bin/usernetes");
        let mut again = base.command(&program);
        let said = base.run_command(again.env("HOME", &home).args(["install", "--start="]));
        assert!(said.stderr.ends_with("nothing to do\n"), "{name}: {said:?}");
    }
}

#[test]
fn they_are_refused_by_the_name_of_the_character() {
    for (name, character) in [
        ("a:b", "`:`, which separates the directories of `PATH`"),
        ("a,b", "`,`, which separates the options of a mount"),
        (
            "a;b",
            "`;`, which separates the directories of `LD_LIBRARY_PATH`",
        ),
        (
            r"CORP\jdoe",
            r"`\\`, which escapes the next character in the options of a mount",
        ),
        ("a\nb", r"`\n`, which a unit file cannot contain"),
    ] {
        let (base, home, said) = install_in(name);
        assert_eq!(said.code, Some(6), "{said:?}");
        let found = format!("the character {character}\n");
        assert!(said.stderr.contains(&found), "{said:?}");
        let way_out = "choose other directories by setting XDG_CONFIG_HOME and XDG_DATA_HOME";
        assert!(said.stderr.contains(way_out), "{said:?}");
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0, "{name}");
        // With the directories that the hint suggests, it works.
        let mut command = base.command(&base.path().join("bundle"));
        command.env("HOME", &home).args(["install", "--start="]);
        for variable in ["XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(variable, base.path().join(variable));
        }
        let said = base.run_command(&mut command);
        assert_eq!(said.code, Some(0), "{said:?}");
    }
}

#[test]
fn doctor_tells_it_among_other_things() {
    let base = Home::of_mortal();
    let mut command = base.command(&program());
    let said = base.run_command(command.env("HOME", "/home/a:b").args(["doctor", "--json"]));
    assert_eq!(said.code, Some(6), "{said:?}");
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let findings = json["findings"].as_array().unwrap();
    let paths: Vec<_> = findings.iter().filter(|f| f["id"] == "paths").collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert_eq!(paths[0]["level"], "fatal");
    let found = paths[0]["found"].as_str().unwrap();
    assert!(found.contains("has the character `:`"), "{found}");
    assert!(findings.iter().any(|f| f["id"] == "tun"), "{findings:?}");
}
