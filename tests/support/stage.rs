//! A home with a bundle and a fake service manager.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use stub::bundle::Mode;

use crate::home::{Home, Said};
use crate::machine::Machine;
use crate::pack::{Pack, Recipe};

/// A fake `systemctl`. It logs its calls. A started unit is active, unless the file `failing` names it. A stopped unit is
/// inactive, or failed if the file `hanging` names it. A started unit has failed, too, if its file has a text that the file
/// `failing-files` has. If the file `silent` exists, it does not answer. Its units are in the
/// home `MANAGER_HOME`, or in HOME if that is not set.
pub const SYSTEMCTL: &str = r#"#!/bin/sh
[ "$1" = --user ] && shift
if [ -e "$HOME/silent" ]; then
    echo 'no bus' >&2
    exit 1
fi
home=${MANAGER_HOME:-$HOME}
state=$home/state
units=$home/.config/systemd/user
case $1 in
show)
    if [ "$2" = --property=Version,SystemState,ControlGroup ]; then
        printf 'Version=257.1\nSystemState=running\nControlGroup=/here\n'
        exit
    fi
    if [ "$2" = --property=UnitPath ]; then
        quoted=$units
        case $units in
        *[!A-Za-z0-9/._-]*) quoted=\"$(printf %s "$units" | sed 's/["\\$`]/\\&/g')\" ;;
        esac
        echo "UnitPath=/run/systemd/user $quoted"
        exit
    fi
    shift 3
    for unit; do
        load=not-found active=inactive file=
        [ -e "$units/$unit" ] && load=loaded file=$units/$unit
        [ -e "$state/$unit" ] && active=$(cat "$state/$unit")
        printf 'Id=%s\nLoadState=%s\nActiveState=%s\nSubState=%s\nNRestarts=0\nFragmentPath=%s\n\n' \
            "$unit" $load $active $active "$file"
    done
    exit
    ;;
esac
echo "$*" >>"$home/calls"
case $1 in
start)
    shift
    for unit; do
        case $unit in
        -*) continue ;;
        u7s-etcd.target) started="$unit u7s-rootlesskit.service u7s-ports.service u7s-etcd.service" ;;
        u7s-node.target) started="$unit u7s-rootlesskit.service u7s-ports.service u7s-api-proxy.service u7s-kubelet-containerd.service u7s-kube-proxy.service u7s-flanneld.service" ;;
        *) started=$unit ;;
        esac
        for unit in $started; do
            echo active >"$state/$unit"
            if grep -qsf "$HOME/failing-files" "$units/$unit"; then echo failed >"$state/$unit"; fi
        done
    done
    for unit in $(cat "$HOME/failing" 2>/dev/null); do echo failed >"$state/$unit"; done
    ;;
stop)
    shift
    for unit; do
        rm -f "$state/$unit"
        if grep -qxs "$unit" "$HOME/hanging"; then echo failed >"$state/$unit"; fi
    done
    ;;
reset-failed)
    shift
    for unit; do rm -f "$state/$unit"; done
    ;;
esac
"#;

const JOURNALCTL: &str =
    "#!/bin/sh\necho \"journalctl $*\" >>\"$HOME/calls\"\necho 'etcd: out of luck'\n";
const LOGINCTL: &str = "#!/bin/sh\necho \"loginctl $*\" >>\"$HOME/calls\"\n";
/// A fake RootlessKit that runs `rm`. Files of subordinate ids belong to the same user here, but may be read-only.
const ROOTLESSKIT: &str = "#!/bin/sh\necho \"rootlesskit $*\" >>\"$HOME/calls\"\nfor dir; do [ -d \"$dir\" ] && chmod -R u+w \"$dir/.\"; done\nexec \"$@\"\n";
/// A fake of the programs that map ids, which RootlessKit would need. The program looks for them, but does not run them.
const MAPPER: &str = "#!/bin/sh\nexit 1\n";
/// A home with a bundle and a fake service manager.
pub struct Stage {
    pub home: Home,
    pub bundle: PathBuf,
}

impl Stage {
    /// A stage whose bundle has these programs and RootlessKit.
    pub fn new(programs: &[&str]) -> Self {
        let home = Home::of_mortal();
        for dir in ["programs", "state"] {
            fs::create_dir_all(home.path().join(dir)).unwrap();
            fs::set_permissions(home.path().join(dir), Permissions::from_mode(0o777)).unwrap();
        }
        for (name, text) in [
            ("systemctl", SYSTEMCTL),
            ("journalctl", JOURNALCTL),
            ("loginctl", LOGINCTL),
            ("newuidmap", MAPPER),
            ("newgidmap", MAPPER),
        ] {
            home.program(&format!("programs/{name}"), text.as_bytes());
        }
        let bundle = home.program("usernetes-x86_64", &pack("0.1.0", programs));
        Self { home, bundle }
    }

    pub fn command(&self, program: &Path) -> Command {
        let mut command = self.home.command(program);
        let programs = self.home.path().join("programs");
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
        command.env("USER", "u");
        command
    }

    /// Runs `install` of the bundle on the real machine, ignoring its faults.
    pub fn install(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(&self.bundle);
        self.home
            .run_command(command.args(["install", "--force"]).args(arguments))
    }

    /// Runs `install` of the bundle on a fake machine, whose faults matter.
    pub fn install_on(&self, machine: &Machine, arguments: &[&str]) -> Said {
        let mut command = self.command(&self.bundle);
        machine.show_to(&mut command);
        self.home
            .run_command(command.arg("install").args(arguments))
    }

    pub fn usernetes(&self, arguments: &[&str]) -> Said {
        let program = self.home.data().join("current/bin/usernetes");
        self.home
            .run_command(self.command(&program).args(arguments))
    }

    /// Runs a command of the bundle, which need not be installed.
    pub fn usernetes_of_bundle(&self, arguments: &[&str]) -> Said {
        self.home
            .run_command(self.command(&self.bundle).args(arguments))
    }

    /// The calls of the fake programs since the last time.
    pub fn calls(&self) -> String {
        let file = self.home.path().join("calls");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        text
    }

    pub fn units(&self) -> PathBuf {
        self.home.path().join(".config/systemd/user")
    }

    pub fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.home.path().join(directory))
            .into_iter()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A bundle with these programs and RootlessKit.
pub fn pack(release: &'static str, programs: &[&str]) -> Vec<u8> {
    let recipe = Recipe::new(release, "3.6.0").runnable();
    let mut pack = Pack::default();
    let mut names = [programs, &["rootlesskit"]].concat();
    names.sort_unstable();
    for name in names {
        let text = match name {
            "rootlesskit" => ROOTLESSKIT.to_owned(),
            name => format!("#!/bin/sh\necho {name} {release}\n"),
        };
        let path = format!("bin/{name}");
        pack.component(name, release, "Apache-2.0").file(
            &path,
            Mode::Program,
            text.as_bytes(),
            None,
        );
    }
    pack.finish(&recipe)
}
