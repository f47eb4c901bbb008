//! What registries and GitHub answer to the builder.

use builder::fuzz;
use builder::oci::Reference;

use stub::error::{Error, Kind};

use super::check_error;

/// The first byte chooses the kind of answer.
pub(crate) fn registry(input: &[u8]) {
    let Some((choice, answer)) = input.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(answer);
    match choice {
        b'c' => {
            let all = fuzz::challenges(&text);
            // Every character is in one of them at most.
            assert!(all.iter().map(String::len).sum::<usize>() <= text.len());
        }
        b'e' => {
            if let Some(sentence) = fuzz::refusal(answer) {
                assert!(sentence.chars().count() <= 201 && !sentence.contains(char::is_control));
            }
        }
        b'k' => match fuzz::token(answer) {
            Ok(token) => assert!(token.len() <= answer.len()),
            Err(why) => check_error(&Error::new(Kind::Network, why)),
        },
        b'l' => {
            if let Some(next) = fuzz::next_page(&text) {
                assert!(text.contains(&format!("<{next}>")));
            }
        }
        b'r' => reference(&text),
        b't' => match fuzz::tags(answer) {
            Ok(count) => assert!(count <= answer.len()),
            Err(error) => check_error(&error),
        },
        _ => {}
    }
}

/// The name of an image is the same when it is read again.
fn reference(text: &str) {
    if let Ok(reference) = Reference::parse(text) {
        let name = format!("oci://{reference}");
        assert_eq!(
            Reference::parse(&name).expect("it was written by us"),
            reference
        );
    }
}

/// A list of releases, or the address of a file.
pub(crate) fn github(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input)
        && text.starts_with("https://")
    {
        if let Some([repository, _, file]) = fuzz::place(text) {
            assert!(!file.contains('/') && repository.matches('/').count() == 1);
        }
        return;
    }
    match fuzz::releases(input) {
        Ok(errors) => errors.iter().for_each(check_error),
        Err(error) => check_error(&error),
    }
}
