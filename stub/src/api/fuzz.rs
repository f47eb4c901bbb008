//! Opens the readers of the API server's answers to `tests/fuzz`. Only with the feature `fuzz`.

use super::watch::event;
use super::{Answer, News, complaint, condition, items};
use crate::error::Result;

/// Takes an answer apart, and looks for all in it that we look for in answers.
pub fn answer(bytes: &[u8]) -> Result<Answer> {
    let answer = super::parse(bytes)?;
    let _ = complaint(answer.status, &answer.body);
    if let Ok(list) = super::read_object(&answer.body) {
        for object in items(&list).chain([&list]) {
            let _ = condition(object, "Ready");
        }
    }
    Ok(answer)
}

/// Whether a line of a watch says something about an object, and whether that is gone.
pub fn news(line: &str) -> Result<Option<bool>> {
    let news = event(line)?;
    Ok(news.map(|news| matches!(news, News::Gone(_))))
}
