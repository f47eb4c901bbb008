//! Tests with homes that are moved, copied, linked or have awkward names, and with data outside the directory that the
//! environment names.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use support::home::Said;
use support::stage::Stage;

/// A home below that of a stage. It uses the programs and the bundle of the stage.
struct Place<'a> {
    stage: &'a Stage,
    home: PathBuf,
    /// The home of the service manager.
    manager: PathBuf,
    /// Further environment variables.
    variables: Vec<(&'static str, PathBuf)>,
}

impl<'a> Place<'a> {
    fn new(stage: &'a Stage, name: &str) -> Self {
        let home = stage.home.path().join(name);
        stage.home.directory(&home);
        stage.home.directory(&home.join("state"));
        let session = stage.home.path().join("session");
        stage.home.directory(&session);
        Self {
            manager: home.clone(),
            home,
            stage,
            variables: vec![("XDG_RUNTIME_DIR", session)],
        }
    }

    /// The same place with another path.
    fn at(&self, name: &str) -> Self {
        let home = self.stage.home.path().join(name);
        Self {
            manager: home.clone(),
            home,
            stage: self.stage,
            variables: self.variables.clone(),
        }
    }

    fn with(mut self, variable: &'static str, value: PathBuf) -> Self {
        self.variables.push((variable, value));
        self
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> Said {
        let mut command = self.stage.command(program);
        command
            .envs(self.variables.clone())
            .env("HOME", &self.home)
            .env("MANAGER_HOME", &self.manager)
            .args(arguments);
        self.stage.home.run_command(&mut command)
    }

    fn bundle(&self, arguments: &[&str]) -> Said {
        self.run(&self.stage.bundle, arguments)
    }

    fn install(&self) -> Said {
        self.bundle(&["install", "--force"])
    }

    /// Runs the installed program.
    fn usernetes(&self, arguments: &[&str]) -> Said {
        self.run(&self.data().join("current/bin/usernetes"), arguments)
    }

    fn data(&self) -> PathBuf {
        self.home.join(".local/share/usernetes")
    }

    /// Runs a command in a shell, as the user.
    fn sh(&self, command: &str) {
        let said = self.run(Path::new("/bin/sh"), &["-c", &format!("cd && {command}")]);
        assert_eq!(said.code, Some(0), "{said:?}");
    }

    /// The calls of the service manager since the last time.
    fn calls(&self) -> String {
        let file = self.manager.join("calls");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        text
    }

    fn unit(&self, name: &str) -> String {
        fs::read_to_string(self.home.join(".config/systemd/user").join(name)).unwrap()
    }

    /// The names in the home, without the log of the fake service manager.
    fn names(&self) -> Vec<String> {
        let _ = self.calls();
        let home = self.home.strip_prefix(self.stage.home.path()).unwrap();
        let mut names = self.stage.names(home.to_str().unwrap());
        names.retain(|name| name != "calls");
        names
    }
}

fn good(said: &Said) {
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn a_moved_home_is_noticed_and_installed_anew_or_removed() {
    let stage = Stage::new(&["etcd"]);
    let old = Place::new(&stage, "old");
    good(&old.install());
    fs::rename(&old.home, stage.home.path().join("new")).unwrap();
    let new = old.at("new");
    new.calls();
    let said = new.usernetes(&["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stdout.contains(
            "units  broken  refer to $HOME/old/.config/usernetes: the home was moved or copied\n"
        ) && said.stdout.contains("\nnext: run `usernetes install`"),
        "{said:?}"
    );
    for arguments in [&["start"][..], &["restart", "etcd"]] {
        let said = new.usernetes(arguments);
        assert_eq!(said.code, Some(6), "{said:?}");
        assert!(
            said.stderr.contains("hint: run `usernetes install`"),
            "{said:?}"
        );
    }
    assert_eq!(new.calls(), "");
    good(&new.usernetes(&["install", "--force"]));
    assert!(
        new.unit("u7s-etcd.service")
            .contains("/new/.local/share/usernetes/generations/1/")
    );
    good(&new.usernetes(&["status"]));

    fs::rename(&new.home, stage.home.path().join("newest")).unwrap();
    let newest = new.at("newest");
    newest.calls();
    let said = newest.usernetes(&["uninstall", "--purge"]);
    good(&said);
    insta::assert_snapshot!(newest.calls(), @r"
    stop --no-block u7s-ports.service u7s-etcd.target u7s-etcd.service u7s-rootlesskit.service
    daemon-reload
    loginctl --no-ask-password disable-linger
    ");
    assert_eq!(newest.names(), ["state"]);
}

#[test]
fn a_copy_leaves_the_original_alone() {
    let stage = Stage::new(&["etcd"]);
    let original = Place::new(&stage, "original");
    good(&original.install());
    let session = stage.home.path().join("session/usernetes");
    stage.home.directory(&session);
    original.sh("cp -a . ../copy");
    let mut copy = original.at("copy");
    // The user has a single service manager, with the home it was started with.
    copy.manager.clone_from(&original.manager);
    let unit = original.unit("u7s-etcd.service");
    original.calls();
    for (arguments, code) in [
        (&["status"][..], 1),
        (&["start"], 6),
        (&["stop"], 6),
        (&["stop", "etcd"], 6),
        (&["restart"], 6),
        (&["install", "--force"], 6),
    ] {
        let said = copy.usernetes(arguments);
        assert_eq!(said.code, Some(code), "{said:?}");
    }
    let said = copy.usernetes(&["stop"]);
    assert!(
        said.stderr.starts_with("error: your service manager has u7s-certs.timer of another installation\n  expected  a unit in $HOME/copy/.config/systemd/user\n  found     $HOME/original/.config/systemd/user/u7s-certs.timer\n"),
        "{said:?}"
    );
    let said = copy.usernetes(&["uninstall", "--purge"]);
    good(&said);
    assert!(
        said.stderr
            .contains("has the units of another installation"),
        "{said:?}"
    );
    assert_eq!(copy.names(), ["state"]);
    assert_eq!(original.calls(), "");
    assert_eq!(original.unit("u7s-etcd.service"), unit);
    assert!(session.exists());
    good(&original.usernetes(&["status"]));
}

#[test]
fn a_copy_does_not_change_data_that_it_shares_with_the_original() {
    let stage = Stage::new(&["etcd"]);
    let original = Place::new(&stage, "original");
    let disk = stage.home.path().join("disk");
    stage.home.directory(&disk);
    original.sh("mkdir -p .local/share && ln -s ../../../disk .local/share/usernetes");
    good(&original.install());
    original.sh("cp -a . ../copy");
    let mut copy = original.at("copy");
    copy.manager.clone_from(&original.manager);
    original.calls();
    for arguments in [
        &["uninstall", "--purge"][..],
        &["install", "--force"],
        &["gc"],
    ] {
        let said = copy.bundle(arguments);
        assert_eq!(said.code, Some(6), "{said:?}");
        assert!(
            said.stderr.starts_with(
                "error: $HOME/copy/.local/share/usernetes is the data of another installation\n"
            ),
            "{said:?}"
        );
    }
    assert_eq!(original.calls(), "");
    good(&original.usernetes(&["status"]));
    // After a move, it is still the same installation.
    original.sh("chmod -R u+w ../copy && rm -r ../copy");
    fs::rename(&original.home, stage.home.path().join("moved")).unwrap();
    let moved = original.at("moved");
    good(&moved.bundle(&["uninstall", "--purge"]));
    assert_eq!(fs::read_dir(disk).unwrap().count(), 0);
    assert_eq!(moved.names(), [".local", "state"]);
}

#[test]
fn a_home_that_a_link_leads_to_is_one_home() {
    let stage = Stage::new(&["etcd"]);
    let real = Place::new(&stage, "real");
    real.sh("ln -s real ../link");
    let link = real.at("link");
    good(&link.install());
    // First the service manager uses the link, then the user.
    for (home, manager) in [(&real, &link), (&link, &real)] {
        let mut place = home.at(home.home.file_name().unwrap().to_str().unwrap());
        place.manager.clone_from(&manager.home);
        good(&place.usernetes(&["status"]));
        good(&place.usernetes(&["install", "--force"]));
    }
    good(&real.usernetes(&["uninstall", "--purge"]));
    assert_eq!(real.names(), ["state"]);
}

#[test]
fn the_service_manager_may_quote_its_directories() {
    let stage = Stage::new(&["etcd"]);
    for name in ["a b", "R&D (new)", "it is $HOME"] {
        let place = Place::new(&stage, name);
        good(&place.install());
        good(&place.usernetes(&["uninstall", "--purge"]));
        assert_eq!(place.names(), ["state"]);
    }
}

#[test]
fn data_is_found_without_the_variable_it_was_installed_with() {
    let stage = Stage::new(&["etcd"]);
    let place = Place::new(&stage, "home");
    let disk = stage.home.path().join("disk");
    stage.home.directory(&disk);
    let asked = place.at("home").with("XDG_DATA_HOME", disk.clone());
    good(&asked.install());
    let program = disk.join("usernetes/current/bin/usernetes");
    good(&place.run(&program, &["status"]));
    good(&place.bundle(&["status"]));
    // An earlier release did not record the data directory. It is found because the program is in it.
    fs::remove_file(place.home.join(".config/usernetes/places.json")).unwrap();
    good(&place.run(&program, &["status"]));
    good(&place.run(&program, &["install", "--force"]));
    good(&place.bundle(&["uninstall", "--purge"]));
    assert_eq!(place.names(), ["state"]);
    assert_eq!(fs::read_dir(disk).unwrap().count(), 0);
}

#[test]
fn another_data_directory_than_the_remembered_one_is_named() {
    let stage = Stage::new(&["etcd"]);
    let place = Place::new(&stage, "home");
    good(&place.install());
    let asked = place.at("home").with("XDG_DATA_HOME", "/elsewhere".into());
    let said = asked.usernetes(&["status"]);
    good(&said);
    assert_eq!(
        said.stderr,
        "XDG_DATA_HOME leads to /elsewhere/usernetes, but your cluster's data is in $HOME/home/.local/share/usernetes, which is used instead\n"
    );
    place.calls();
    let said = asked.install();
    assert_eq!(said.code, Some(2), "{said:?}");
    insta::assert_snapshot!(said.stderr, @r"
    error: XDG_DATA_HOME does not name the data of your cluster
      expected  $HOME/home/.local/share/usernetes
      found     /elsewhere/usernetes

    hint: unset XDG_DATA_HOME; to have the data in /elsewhere/usernetes, move it there: `usernetes uninstall`, `mv $HOME/home/.local/share/usernetes /elsewhere/usernetes`, and run this again
    ");
    assert_eq!(place.calls(), "");
    // These are the steps of the hint.
    good(&asked.usernetes(&["uninstall"]));
    let disk = stage.home.path().join("disk");
    stage.home.directory(&disk);
    fs::rename(place.data(), disk.join("usernetes")).unwrap();
    let asked = place.at("home").with("XDG_DATA_HOME", disk.clone());
    good(&asked.install());
    good(&place.bundle(&["uninstall", "--purge"]));
    assert_eq!(place.names(), [".local", "state"]);
    assert_eq!(fs::read_dir(disk).unwrap().count(), 0);
}

/// Changes the receipt to that of an earlier release: units and directories have absolute paths, and neither places nor boots
/// are recorded.
fn as_before(place: &Place) {
    let path = place.data().join("installed.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let units = json["units"].as_object().unwrap().clone();
    let dir = place.home.join(".config/systemd/user");
    let absolute = |(name, digests): (String, serde_json::Value)| {
        (dir.join(name).to_str().unwrap().to_owned(), digests)
    };
    json["units"] = units
        .into_iter()
        .map(absolute)
        .collect::<serde_json::Map<_, _>>()
        .into();
    let directories = json["directories"].as_array().unwrap().clone();
    json["directories"] = directories
        .iter()
        .map(|d| {
            place
                .home
                .join(d.as_str().unwrap())
                .to_str()
                .unwrap()
                .into()
        })
        .collect::<Vec<serde_json::Value>>()
        .into();
    for later in ["places", "boot"] {
        json.as_object_mut().unwrap().remove(later).unwrap();
    }
    fs::write(&path, json.to_string()).unwrap();
    fs::remove_file(place.home.join(".config/usernetes/places.json")).unwrap();
    // In an earlier release, systemd made this link.
    let link = dir.join("default.target.wants/u7s-etcd.target");
    fs::remove_file(&link).unwrap();
    fs::os::unix::fs::symlink(dir.join("u7s-etcd.target"), &link).unwrap();
}

#[test]
fn what_an_earlier_release_installed_survives_being_moved_too() {
    let stage = Stage::new(&["etcd"]);
    let old = Place::new(&stage, "old");
    good(&old.install());
    as_before(&old);
    good(&old.usernetes(&["status"]));
    fs::rename(&old.home, stage.home.path().join("new")).unwrap();
    let new = old.at("new");
    let said = new.usernetes(&["status"]);
    assert!(
        said.stdout.contains("the home was moved or copied"),
        "{said:?}"
    );
    good(&new.usernetes(&["install", "--force"]));
    let wants = new
        .home
        .join(".config/systemd/user/default.target.wants/u7s-etcd.target");
    assert_eq!(
        fs::read_link(&wants).unwrap(),
        Path::new("../u7s-etcd.target")
    );
    as_before(&new);
    new.sh("cp -a . ../copy");
    let mut copy = new.at("copy");
    copy.manager.clone_from(&new.manager);
    good(&copy.usernetes(&["uninstall", "--purge"]));
    assert_eq!(copy.names(), ["state"]);
    good(&new.usernetes(&["uninstall", "--purge"]));
    assert_eq!(new.names(), ["state"]);
}

#[test]
fn the_receipt_names_its_own_tree_relatively() {
    let stage = Stage::new(&["etcd"]);
    let place = Place::new(&stage, "home");
    good(&place.install());
    let text = fs::read_to_string(place.data().join("installed.json")).unwrap();
    let home = place.home.to_str().unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(home)).collect();
    assert_eq!(lines, [format!("    \"home\": \"{home}\",")]);
}

/// One umask gives everybody all permissions, the other one removes permissions that the user needs for a directory.
#[test]
fn what_holds_units_and_configuration_is_private_whatever_the_umask() {
    let stage = Stage::new(&["etcd"]);
    for mask in ["000", "0177"] {
        let place = Place::new(&stage, &format!("umask {mask}"));
        let there = place.home.join(".config");
        place.sh("mkdir -m 755 .config");
        let bundle = stage.bundle.display();
        place.sh(&format!("umask {mask}; {bundle} install --force"));
        let mode = |path: &Path| {
            let mut stat = Command::new("stat");
            let output = stat.args(["-c", "%a"]).arg(path).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(mode(&there), "755");
        for made in [
            "systemd",
            "systemd/user",
            "systemd/user/default.target.wants",
            "usernetes",
            "usernetes/master",
            "../.local",
            "../.local/share",
            "../.local/share/usernetes",
            "../.local/share/usernetes/store",
        ] {
            assert_eq!(mode(&there.join(made)), "700", "{mask} {made}");
        }
        good(&place.usernetes(&["uninstall", "--purge"]));
    }
}
