//! Every target reads the inputs of its corpus.

use std::path::Path;

use fuzz::{TARGETS, run};

#[test]
fn no_known_input_shows_a_fault() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut known: Vec<String> = fs_err::read_dir(&corpora)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    known.sort();
    assert!(known.iter().eq(TARGETS.iter().map(|(name, _)| name)));
    for (name, check) in TARGETS {
        let inputs = fs_err::read_dir(corpora.join(name)).unwrap();
        let inputs: Vec<_> = inputs.map(|entry| entry.unwrap().path()).collect();
        assert!(inputs.len() > 1, "{name}");
        for input in inputs {
            println!("{}", input.display());
            run(check, &fs_err::read(input).unwrap());
        }
    }
}
