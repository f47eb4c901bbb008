//! Tests of replacing the authorities: what each stage makes of the files, who verifies whom, and every interruption.

use super::super::plan;
use super::super::rotation::{
    Goal, Rotation, Stage, Step, begin_rotation, end_rotation, end_was_interrupted, enter_stage,
    next_step, old_token_key, rotation, settle_stage,
};
use super::*;
use crate::digest::Sha256;
use crate::files::replace;

const STAGES: [Stage; 3] = [Stage::Trust, Stage::Issue, Stage::Finish];

fn read(dir: &Path, file: &str) -> String {
    fs_err::read_to_string(dir.join(file)).unwrap()
}

/// All certificates in a file.
fn chain(text: &str) -> Vec<CertificateDer<'static>> {
    let all = Certificate::parse_all(text).unwrap();
    all.iter().map(|c| c.der().to_vec().into()).collect()
}

/// Whether somebody who trusts these authorities accepts a certificate.
fn trusted(authorities: &str, certificate: &str, day: u64) -> bool {
    let roots = chain(authorities);
    let anchors: Vec<_> = roots
        .iter()
        .map(|root| anchor_from_trusted_cert(root).unwrap())
        .collect();
    let certificate = &chain(certificate)[0];
    let end_entity = EndEntityCert::try_from(certificate).unwrap();
    [KeyUsage::server_auth(), KeyUsage::client_auth()]
        .into_iter()
        .any(|usage| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(NOW + day * 24 * 60 * 60));
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            let verified =
                end_entity.verify_for_usage(algorithms, &anchors, &[], time, usage, None, None);
            verified.is_ok()
        })
}

/// A PKI at a stage, which has settled, and its authorities before.
fn at_stage(stage: Stage) -> (TempDir, BTreeMap<String, Vec<u8>>) {
    let dir = fresh();
    let before = contents_of_files(dir.path());
    begin_rotation(dir.path(), at(0)).unwrap();
    for each in STAGES {
        if each != Stage::Trust {
            enter_stage(dir.path(), each, at(0)).unwrap();
        }
        ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
        settle_stage(dir.path(), at(0)).unwrap();
        if each == stage {
            break;
        }
    }
    (dir, before)
}

/// The files of both directories, without those of the replacement.
fn contents_of_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for sub in [MASTER, NODE] {
        for path in crate::files::contents(&dir.join(sub)).unwrap() {
            if path.is_file() {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                files.insert(name, fs_err::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn at_every_stage_everybody_accepts_everybody() {
    for stage in STAGES {
        let (dir, before) = at_stage(stage);
        let dir = dir.path();
        let old = |file: &str| String::from_utf8(before[file].clone()).unwrap();
        for leaf in leaves(&request()).unwrap() {
            let file = leaf.credential.certificate().display().to_string();
            let authority = leaf.authority.credential().certificate();
            let authority = authority.display().to_string();
            let now = (read(dir, &authority), read(dir, &file));
            assert!(trusted(&now.0, &now.1, 1), "{stage:?} {file}");
            // Somebody who has not followed yet, or has a certificate from before.
            let shown = leaf.is_shown_to_others();
            assert_eq!(
                trusted(&old(&authority), &now.1, 1),
                stage == Stage::Trust || (stage == Stage::Issue && shown),
                "{stage:?} {file}"
            );
            assert_eq!(
                trusted(&now.0, &old(&file), 1),
                stage != Stage::Finish,
                "{stage:?} {file}"
            );
        }
        assert_eq!(read(dir, "node/ca.pem"), read(dir, "master/ca.pem"));
        let number = if stage == Stage::Finish { 1 } else { 2 };
        assert_eq!(chain(&read(dir, "master/etcd-ca.pem")).len(), number);
        let problems = list(dir, &request(), at(1)).unwrap().into_iter();
        let problems: Vec<_> = problems.filter(|info| info.problem.is_some()).collect();
        assert!(problems.is_empty(), "{stage:?} {problems:?}");
        // The administrator's kubeconfig has the same authorities.
        let encoded = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            read(dir, "master/ca.pem"),
        );
        assert!(read(dir, "master/admin-localhost.kubeconfig").contains(&encoded));
        let report = ensure(dir, &request(), Renew::Due, at(1)).unwrap();
        assert_eq!(made(&report), "", "{stage:?}");
    }
}

/// The old keys are removed one after the other, and a kill may come between any two of them.
#[test]
fn the_end_can_be_interrupted_anywhere() {
    let (dir, _) = at_stage(Stage::Finish);
    let dir = dir.path();
    let rotation_dir = dir.join("master/rotation");
    for name in ["new", "old"] {
        for file in crate::files::contents(&rotation_dir.join(name)).unwrap() {
            fs_err::remove_file(file).unwrap();
            assert_eq!(old_token_key(dir).unwrap(), None);
            let report = ensure(dir, &request(), Renew::Due, at(1)).unwrap();
            assert_eq!(made(&report), "");
            assert!(rotation(dir).unwrap().is_some());
            assert!(!end_was_interrupted(dir).unwrap());
        }
    }
    end_rotation(dir).unwrap();
    assert_eq!(rotation(dir).unwrap(), None);
    assert!(!rotation_dir.exists() && !end_was_interrupted(dir).unwrap());
    fs_err::create_dir(&rotation_dir).unwrap();
    assert!(end_was_interrupted(dir).unwrap());
}

/// A machine that joins knows an authority by the token, and gets its certificate from the API server.
#[test]
fn a_token_names_the_authority_that_the_api_server_shows() {
    for stage in STAGES {
        let (dir, before) = at_stage(stage);
        let old = String::from_utf8(before["master/ca.pem"].clone()).unwrap();
        let old = super::super::Authority::parse(&old).unwrap().key_digest();
        let all = super::super::Authority::parse(&read(dir.path(), "master/ca.pem")).unwrap();
        let mut joinable = request();
        joinable.address = Some([192, 0, 2, 7].into());
        ensure(dir.path(), &joinable, Renew::Due, at(0)).unwrap();
        let shown = read(dir.path(), "master/kube-apiserver.pem");
        let named = all.issuer_of(&shown).unwrap();
        assert_eq!(
            named.key_digest() == old,
            stage != Stage::Finish,
            "{stage:?}"
        );
        assert_eq!(all.key_digest() == old, stage == Stage::Trust, "{stage:?}");
        assert_eq!(all.is_several(), stage != Stage::Finish);
        // After its own certificate, the API server sends that of this authority, and no other one.
        let sent = chain(&shown);
        assert_eq!(sent.len(), 2, "{stage:?}");
        assert_eq!(&*sent[1], named.der(), "{stage:?}");
        let key = read(dir.path(), "node/node-client-key.pem");
        let certificate = read(dir.path(), "node/node-client.pem");
        assert!(super::super::belongs(&certificate, &key, &all));
        assert!(all.issues(&certificate));
    }
}

#[test]
fn tokens_are_signed_with_the_new_key_and_verified_with_both() {
    let (dir, before) = at_stage(Stage::Issue);
    let dir = dir.path();
    let old = String::from_utf8(before["master/service-account.pem"].clone()).unwrap();
    let keys = read(dir, "master/service-account.pem");
    assert!(keys.contains(&old) && keys.matches("BEGIN PUBLIC KEY").count() == 2);
    assert!(!keys.starts_with(&old));
    let key = read(dir, "master/service-account-key.pem");
    assert_ne!(key.as_bytes(), before["master/service-account-key.pem"]);
    let old = super::super::key::Key::parse(
        String::from_utf8(before["master/service-account-key.pem"].clone()).unwrap(),
    )
    .unwrap();
    let digest = Sha256::of(&old.public());
    assert_eq!(old_token_key(dir).unwrap(), Some(digest));
    let (dir, _) = at_stage(Stage::Finish);
    end_rotation(dir.path()).unwrap();
    assert_eq!(old_token_key(dir.path()).unwrap(), None);
    let keys = read(dir.path(), "master/service-account.pem");
    assert_eq!(keys.matches("BEGIN PUBLIC KEY").count(), 1);
}

#[test]
fn only_the_owner_reads_the_keys_and_nothing_is_left_at_the_end() {
    let (dir, before) = at_stage(Stage::Finish);
    let mode = |name: &str| {
        let file = dir.path().join(MASTER).join("rotation").join(name);
        fs_err::metadata(file).unwrap().permissions().mode() & 0o777
    };
    let modes = ["", "old", "old/ca-key.pem", "new/ca-key.pem", "stage.json"].map(mode);
    assert_eq!(modes, [0o700, 0o700, 0o600, 0o600, 0o600]);
    end_rotation(dir.path()).unwrap();
    assert_eq!(rotation(dir.path()).unwrap(), None);
    let after = contents(dir.path());
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before));
    // Nothing but the names is as it was, except the keys of leaves.
    assert_ne!(after["master/ca-key.pem"], before["master/ca-key.pem"]);
    assert_eq!(after["master/etcd-key.pem"], before["master/etcd-key.pem"]);
    let report = ensure(dir.path(), &request(), Renew::Due, at(1)).unwrap();
    assert_eq!(made(&report), "");
    // And it can be done again.
    begin_rotation(dir.path(), at(2)).unwrap();
    assert_eq!(rotation(dir.path()).unwrap().unwrap().stage, Stage::Trust);
}

/// The process is killed after so many of the files that a stage writes. The next run of anything makes the stage complete.
#[test]
fn interruptions_of_a_stage_are_completed_by_the_next_run() {
    for (before, stage) in [
        (None, Stage::Trust),
        (Some(Stage::Trust), Stage::Issue),
        (Some(Stage::Issue), Stage::Finish),
    ] {
        let start = before.map_or_else(fresh, |before| at_stage(before).0);
        match before {
            None => begin_rotation(start.path(), at(0)).unwrap(),
            Some(_) => enter_stage(start.path(), stage, at(0)).unwrap(),
        }
        for written in (0..).step_by(3) {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            copy(start.path(), dir);
            let (all, done) = write_some(dir, written);
            ensure(dir, &request(), Renew::Due, at(0)).unwrap();
            // It refuses files that do not belong together.
            let again = ensure(dir, &request(), Renew::Due, at(0)).unwrap();
            assert_eq!(made(&again), "", "{stage:?} {written}");
            if done == all {
                assert!(all > 5, "{stage:?} writes {all}");
                break;
            }
        }
    }
}

/// Copies a directory with everything in it.
fn copy(from: &Path, to: &Path) {
    for path in crate::files::contents(from).unwrap() {
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs_err::create_dir(&place).unwrap();
            copy(&path, &place);
        } else {
            fs_err::copy(&path, &place).unwrap();
        }
    }
}

/// Writes the first files of what is to be done, and gives how many there are and how many were written.
fn write_some(dir: &Path, most: usize) -> (usize, usize) {
    let (leaves, accesses) = (
        leaves(&request()).unwrap(),
        super::super::identity::accesses(&request()),
    );
    let now = seconds(at(0)).unwrap();
    let plan = plan::make(dir, &leaves, &accesses, Renew::Due, now).unwrap();
    let batches = [plan.keys, plan.certificates, plan.copies];
    let all: Vec<_> = batches.iter().flatten().collect();
    for write in all.iter().take(most) {
        replace(&write.file, write.text.as_bytes(), write.mode).unwrap();
    }
    (all.len(), most.min(all.len()))
}

#[test]
fn an_interrupted_beginning_leaves_everything_as_it_was() {
    let dir = fresh();
    let before = contents(dir.path());
    let half = dir.path().join(MASTER).join("rotation/new");
    fs_err::create_dir_all(&half).unwrap();
    fs_err::write(half.join("ca.pem"), "half").unwrap();
    assert_eq!(rotation(dir.path()).unwrap(), None);
    let report = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
    assert_eq!(made(&report), "");
    assert_eq!(contents_of_files(dir.path()), before);
    begin_rotation(dir.path(), at(0)).unwrap();
    let first = read(dir.path(), "master/rotation/new/ca.pem");
    begin_rotation(dir.path(), at(0)).unwrap();
    assert_eq!(read(dir.path(), "master/rotation/new/ca.pem"), first);
    ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
}

#[test]
fn an_authority_that_is_about_to_end_can_be_replaced_and_an_expired_one_cannot() {
    let dir = fresh();
    ensure(dir.path(), &request(), Renew::Due, at(3630)).unwrap_err();
    begin_rotation(dir.path(), at(3630)).unwrap();
    for stage in STAGES {
        enter_stage(dir.path(), stage, at(3630)).unwrap();
        ensure(dir.path(), &request(), Renew::Due, at(3630)).unwrap();
    }
    end_rotation(dir.path()).unwrap();
    let all = list(dir.path(), &request(), at(3660)).unwrap();
    assert!(all.iter().all(|info| info.days_left > 300), "{all:?}");

    let dir = fresh();
    let error = begin_rotation(dir.path(), at(3651)).unwrap_err();
    let text = error.to_string().replace(dir.path().to_str().unwrap(), "…");
    insta::assert_snapshot!(text, @"
    …/master/ca.pem: the cluster authority has expired
      expected  an authority that the running components trust
      found     not after 2036-12-29T00:00:00Z

    hint: make new certificates at once: `usernetes stop`, move `…/master` and `…/node` away, and run `usernetes install`
    ");
}

#[test]
fn a_lost_key_is_named_before_anything_is_changed() {
    let dir = fresh();
    fs_err::remove_file(dir.path().join("master/etcd-ca-key.pem")).unwrap();
    let before = contents(dir.path());
    let error = begin_rotation(dir.path(), at(0)).unwrap_err().to_string();
    assert!(
        error.contains("master/etcd-ca-key.pem: no such file"),
        "{error}"
    );
    assert_eq!(contents(dir.path()), before);
}

/// What a run does, told by the states that it goes through. It is killed before its step `killed`.
fn run(state: &mut Option<Rotation>, goal: Goal, killed: Option<usize>) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = next_step(state.as_ref(), goal);
        if killed == Some(steps.len()) {
            return steps;
        }
        steps.push(step);
        let at = |stage, settled| {
            Some(Rotation {
                stage,
                settled,
                since: 0,
            })
        };
        match step {
            Step::Prepare => *state = at(Stage::Trust, false),
            Step::Settle(stage) => *state = at(stage, true),
            Step::Enter(stage) => *state = at(stage, false),
            Step::Forget => {
                *state = None;
                return steps;
            }
            Step::Rest => return steps,
        }
    }
}

#[test]
fn the_steps_are_the_same_wherever_a_run_is_killed() {
    let (begin, finish) = (
        [
            Step::Prepare,
            Step::Settle(Stage::Trust),
            Step::Enter(Stage::Issue),
            Step::Settle(Stage::Issue),
            Step::Rest,
        ],
        [
            Step::Enter(Stage::Finish),
            Step::Settle(Stage::Finish),
            Step::Forget,
        ],
    );
    for killed in 0..=begin.len() {
        let mut state = None;
        let mut steps = run(&mut state, Goal::Begin, Some(killed));
        steps.extend(run(&mut state, Goal::Begin, None));
        steps.dedup();
        assert_eq!(steps, begin, "{killed}");
        // It can be repeated.
        assert_eq!(run(&mut state, Goal::Begin, None), [Step::Rest]);
        for killed in 0..finish.len() {
            let mut state = state;
            let mut steps = run(&mut state, Goal::Finish, Some(killed));
            // Whichever command is run then, what was begun comes to its end.
            let goal = if killed == 0 {
                Goal::Finish
            } else {
                Goal::Begin
            };
            steps.extend(run(&mut state, goal, None));
            assert_eq!(steps, finish, "{killed}");
            assert_eq!(state, None);
        }
    }
    assert_eq!(run(&mut None, Goal::Finish, None), [Step::Rest]);
}
