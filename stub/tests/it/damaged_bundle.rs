//! Tests with bundles that are damaged, incomplete or made for another machine.

use fs_err as fs;
use stub::bundle::{Arch, Bundle, trailer};
use stub::error::{Error, Kind};
use stub::progress::Progress;

use support::home::Home;
use support::pack::Recipe;

fn verify(home: &Home, bytes: &[u8]) -> Result<(), Error> {
    let file = home.path().join("damaged");
    fs::write(&file, bytes).unwrap();
    Bundle::open(&file)?.verify(|_| ())
}

/// The names that a message must contain if the byte at this offset is wrong.
fn names(bundle: &Bundle, offset: u64) -> Vec<String> {
    let trailer = bundle.trailer();
    let end = trailer.manifest_offset + trailer.manifest_len;
    if offset < trailer.stub_len {
        return vec!["the stub is damaged".to_owned()];
    } else if offset < trailer.payload_offset {
        return vec!["the padding after the stub".to_owned()];
    } else if offset >= end {
        let known = ["trailer", "whole bundle", "newer format", "manifest"];
        return known.map(str::to_owned).to_vec();
    } else if offset >= trailer.manifest_offset {
        return vec!["the bundle's manifest is damaged".to_owned()];
    }
    let manifest = bundle.manifest();
    let mut begin = trailer.payload_offset;
    let frame = manifest.frames.iter().find(|f| {
        begin += f.length;
        offset < begin
    });
    let digest = frame.unwrap().sha256;
    let files = manifest.components.iter().flat_map(|c| &c.files);
    let owner = files.clone().find(|f| f.sha256 == digest).unwrap();
    vec![format!("`{}` of ", owner.path)]
}

/// Offsets in every part of the bundle: some bytes of the padding and of the frames, and all other bytes.
fn offsets(bundle: &Bundle) -> impl Iterator<Item = u64> {
    let trailer = bundle.trailer().clone();
    (0..trailer.file_len).filter(move |at| {
        let dull = (trailer.stub_len..trailer.manifest_offset).contains(at);
        !dull || at % 61 == 0 || at % 4096 == 0
    })
}

#[test]
fn verify_names_whatever_part_a_flipped_byte_is_in() {
    let home = Home::new();
    let good = Recipe::new("0.1.0", "3.5.30").pack();
    let bundle = home.bundle(&good);
    verify(&home, &good).unwrap();
    for at in offsets(&bundle) {
        let mut bytes = good.clone();
        bytes[usize::try_from(at).unwrap()] ^= 1 << (at % 8);
        let error = verify(&home, &bytes).expect_err(&format!("byte {at}"));
        let text = error.to_string();
        assert!(
            matches!(error.kind(), Kind::Integrity | Kind::Input),
            "byte {at}: {error:?}"
        );
        let names = names(&bundle, at);
        assert!(
            names.iter().any(|n| text.contains(n)),
            "byte {at}: {text} should name {names:?}"
        );
        assert!(text.contains("/damaged: "), "byte {at}: {text}");
        assert!(text.contains("\n\nhint: "), "byte {at}: {text}");
    }
}

#[test]
fn install_fails_or_is_right_whatever_byte_is_flipped() {
    let good = Recipe::new("0.1.0", "3.5.30").pack();
    let bundle = Home::new().bundle(&good);
    let (mut refused, mut harmless) = (0, 0);
    for at in offsets(&bundle).filter(|at| at % 5 == 0) {
        let home = Home::new();
        let mut bytes = good.clone();
        bytes[usize::try_from(at).unwrap()] ^= 1 << (at % 8);
        let file = home.program("damaged", &bytes);
        let installed = Bundle::open(&file)
            .and_then(|bundle| home.store().install(&bundle, &Progress::silent()));
        match installed {
            Ok(_) => {
                harmless += 1;
                assert_eq!(home.damages(), [], "byte {at}");
                assert_eq!(home.current().id(), bundle.id(), "byte {at}");
            }
            Err(error) => {
                refused += 1;
                assert!(
                    matches!(error.kind(), Kind::Integrity | Kind::Input),
                    "byte {at}: {error:?}"
                );
                assert!(home.store().current().unwrap().is_none(), "byte {at}");
                let left = fs::read_dir(home.data().join("store"))
                    .into_iter()
                    .flatten();
                let left: Vec<_> = left
                    .map(|e| e.unwrap().file_name())
                    .filter(|n| n != ".lock")
                    .collect();
                assert!(left.is_empty(), "byte {at}: {left:?}");
            }
        }
    }
    // `install` does not read the padding, so damage there does no harm.
    assert!(
        refused > 500 && (1..100).contains(&harmless),
        "{refused} {harmless}"
    );
}

#[test]
fn truncated_or_longer_files_are_refused() {
    let home = Home::new();
    let good = Recipe::new("0.1.0", "3.5.30").pack();
    for len in (0..good.len())
        .step_by(997)
        .chain([good.len() - 1, good.len() - trailer::LEN])
    {
        let error = verify(&home, &good[..len]).expect_err(&format!("{len} bytes"));
        assert_eq!(error.kind(), Kind::Integrity, "{len}: {error}");
        assert!(error.to_string().contains("/damaged: "), "{len}: {error}");
    }
    for more in [&b"\0"[..], b"\n", b"<html>", &[0; 4096], &good] {
        let error = verify(&home, &[&good[..], more].concat()).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
    }
}

/// An incomplete download can be run, because the program at its head is complete.
#[test]
fn a_truncated_bundle_does_not_take_itself_for_the_installed_command() {
    let home = Home::new();
    home.install(&Recipe::new("0.1.0", "3.5.30").pack());
    let good = Recipe::new("0.1.0", "3.5.30").runnable().pack();
    let cut = good.len() - 3000;
    for (name, bytes) in [
        ("cut", &good[..cut]),
        ("longer", &[&good[..], b"more"].concat()),
    ] {
        let file = home.program(name, bytes);
        for command in ["install", "verify", "list", "--version"] {
            let said = home.run(&file, &[command]);
            assert_eq!((said.code, &*said.stdout), (Some(4), ""), "{said:?}");
            assert!(
                said.stderr.starts_with(&format!(
                    "error: $HOME/{name}: this is not a whole bundle\n"
                )),
                "{said:?}"
            );
            assert!(
                said.stderr
                    .contains("hint: the file is damaged or was changed: download it again"),
                "{said:?}"
            );
        }
    }
}

#[test]
fn a_bundle_of_a_newer_format_is_refused() {
    let home = Home::new();
    let mut bytes = Recipe::new("0.1.0", "3.5.30").pack();
    let at = bytes.len() - trailer::LEN + 8;
    bytes[at] += 1;
    let file = home.program("bundle", &bytes);
    let said = home.usernetes(&["verify", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(3));
    insta::assert_snapshot!(said.stderr, @r"
    error: $HOME/bundle: the bundle has a newer format than this program knows
      expected  format 1 or older
      found     format 2

    hint: run the bundle itself, or use the `builder` and `usernetes` of its release
    ");
}

#[test]
fn a_bundle_for_another_architecture_is_refused() {
    let home = Home::new();
    let host = Arch::host().unwrap();
    let foreign = Arch::ALL.into_iter().find(|a| *a != host).unwrap();
    let recipe = Recipe {
        arch: foreign,
        ..Recipe::new("0.1.0", "3.5.30")
    };
    let bundle = home.bundle(&recipe.pack());
    let error = home
        .store()
        .install(&bundle, &Progress::silent())
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Host);
    let text = error
        .to_string()
        .replace(host.as_str(), "<host>")
        .replace(foreign.as_str(), "<foreign>");
    insta::assert_snapshot!(text, @r"
    the bundle is for another processor architecture
      expected  <host>
      found     <foreign>

    hint: get the bundle for this machine: `usernetes-<host>`
    ");
    assert!(!home.data().exists());
    // A bundle for another architecture can still be verified.
    bundle.verify(|_| ()).unwrap();
}
