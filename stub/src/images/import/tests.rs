use super::super::contents::tests::archive;
use super::*;

#[test]
fn the_table_of_ctr_is_parsed() {
    let table = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
        registry.k8s.io/pause:3.10.1 application/vnd.oci.image.manifest.v1+json sha256:5e 311.5 KiB linux/amd64 io.cri-containerd.image=managed\n";
    assert_eq!(
        parse(table).into_iter().collect::<Vec<_>>(),
        ["registry.k8s.io/pause:3.10.1 sha256:5e"]
    );
    assert!(parse("REF TYPE DIGEST\n").is_empty());
}

/// A machine with a fake `ctr`. It writes the images that it imports to the file `have`, and the names of the archives to
/// `log`. An image is a line in an archive that begins with `row`.
struct Machine {
    dir: tempfile::TempDir,
}

/// The file in the layout of the generation that contains the line for its image.
const BLOB: &str = "gen/images/pause/blobs/sha256/1";

const CTR: &str = r#"cd "${0%/*}"; for last; do :; done
case $4 in
list) echo REF TYPE DIGEST; cat have;;
import) [ "$last" != --help ] || { cat help; exit; }
    case " $* " in *" --local "*) echo local > way;; esac
    echo "${last##*/}" >> log; cat "$last" | grep -a '^row' > rows || exit 1; sed 's/^row *//' rows >> have;;
esac"#;

impl Machine {
    fn new() -> Self {
        let machine = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in [
            "gen/images/pause/blobs/sha256",
            "data/images",
            "data/containerd",
        ] {
            fs::create_dir_all(machine.at(dir)).unwrap();
        }
        for (file, text) in [("ctr", CTR), ("have", ""), ("log", ""), ("help", "")] {
            machine.write(file, text);
        }
        machine.write(
            "gen/images/pause/index.json",
            r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:1","size":1,"annotations":{"io.containerd.image.name":"k8s/pause:3"}}]}"#,
        );
        machine.write(BLOB, "\nrow k8s/pause:3 t sha256:1\n");
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn load(&self) -> Result<()> {
        let layout = Layout::new(
            self.at("config"),
            self.at("data"),
            self.at("run"),
            self.at("gen"),
        )
        .unwrap();
        let ctr = || {
            let mut command = Command::new("/bin/sh");
            command.arg(self.at("ctr"));
            command
        };
        Loader {
            ctr: &ctr,
            snapshotter: "overlayfs",
        }
        .load(&layout)
    }

    /// Loads the images, and returns the names of the archives that were imported; `-` is a layout.
    fn imports(&self) -> String {
        self.load().unwrap();
        let log = fs::read_to_string(self.at("log")).unwrap();
        self.write("log", "");
        log.lines().collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn an_image_is_loaded_again_only_if_it_changes_or_is_removed() {
    let machine = Machine::new();
    machine.write("data/images/notes.txt", "no archive");
    assert_eq!(machine.imports(), "-");
    assert_eq!(machine.imports(), "");
    machine.write("data/images/own.tar", "row own t sha256:2\n");
    assert_eq!(machine.imports(), "own.tar");
    assert_eq!(machine.imports(), "");
    machine.write("have", "own t sha256:2\n");
    assert_eq!(machine.imports(), "-");
    machine.write("have", "k8s/pause:3 t sha256:1\n");
    assert_eq!(machine.imports(), "own.tar");
    machine.write("data/images/own.tar", "row own t sha256:34\n");
    assert_eq!(machine.imports(), "own.tar");
    assert_eq!(machine.imports(), "");
}

#[test]
fn ctr_imports_itself_where_it_has_the_choice() {
    let machine = Machine::new();
    assert_eq!(machine.imports(), "-");
    assert!(!machine.at("way").exists());
    machine.write("have", "");
    machine.write("help", "   --local    Run import locally\n");
    assert_eq!(machine.imports(), "-");
    assert!(machine.at("way").exists());
}

#[test]
fn an_image_that_containerd_had_before_its_archive_came_is_loaded_again_once_it_is_removed() {
    let machine = Machine::new();
    machine.imports();
    let pause = "k8s/pause:3 t sha256:1\n";
    machine.write(
        "have",
        &format!("{pause}own t sha256:2\nother t sha256:3\n"),
    );
    machine.write("data/images/own.tar", "row own t sha256:2\n");
    assert_eq!(machine.imports(), "own.tar");
    assert_eq!(machine.imports(), "");
    machine.write("have", &format!("{pause}other t sha256:3\n"));
    assert_eq!(machine.imports(), "own.tar");
    // The archive is removed from the directory, and put back unchanged.
    fs::rename(machine.at("data/images/own.tar"), machine.at("away")).unwrap();
    assert_eq!(machine.imports(), "");
    fs::rename(machine.at("away"), machine.at("data/images/own.tar")).unwrap();
    assert_eq!(machine.imports(), "own.tar");
    assert_eq!(machine.imports(), "");
    machine.write("have", pause);
    assert_eq!(machine.imports(), "own.tar");
}

#[test]
fn an_archive_with_an_index_is_imported_again_only_for_its_own_images() {
    let machine = Machine::new();
    let (own, other) = (
        "x.example/own:1 t sha256:2\n",
        "x.example/other:1 t sha256:3\n",
    );
    machine.write("have", &format!("k8s/pause:3 t sha256:1\n{own}{other}"));
    let index = r#"{"manifests":[{"digest":"sha256:2","annotations":{"io.containerd.image.name":"x.example/own:1"}}]}"#;
    let row = format!("\nrow {own}");
    let files = [("index.json", index), ("row", row.as_str())];
    archive(&machine.at("data/images/own.tar"), &files);
    assert_eq!(machine.imports(), "own.tar");
    machine.write("have", &format!("k8s/pause:3 t sha256:1\n{own}"));
    assert_eq!(machine.imports(), "");
    machine.write("have", &format!("k8s/pause:3 t sha256:1\n{other}"));
    assert_eq!(machine.imports(), "own.tar");
}

#[test]
fn only_an_image_of_the_bundle_must_load() {
    let machine = Machine::new();
    fs::create_dir_all(machine.at("data/images/bad.tar")).unwrap();
    machine.write("data/images/empty.tar", "");
    machine.load().unwrap();
    machine.write("have", "");
    machine.write(BLOB, "something else");
    let error = machine.load().unwrap_err();
    assert!(
        error.message().contains("`ctr images import` failed"),
        "{error}"
    );
}

#[test]
fn an_image_that_differs_from_its_index_is_an_error() {
    let machine = Machine::new();
    machine.write(BLOB, "\nrow k8s/pause:3 t sha256:2\n");
    let error = machine.load().unwrap_err().to_string();
    assert!(
        error.contains(
            "image k8s/pause:3 is missing after it was loaded\n  expected  k8s/pause:3 sha256:1"
        ),
        "{error}"
    );
}
