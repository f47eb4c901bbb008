//! The texts of the licences, as their authors published them.

/// The text of a licence or exception.
pub(super) struct Text {
    /// SPDX identifier without `-only` and `-or-later`.
    pub(super) id: &'static str,
    /// The words.
    pub(super) words: &'static str,
}

macro_rules! texts {
    ($($id:literal),* $(,)?) => {
        [$(Text { id: $id, words: include_str!(concat!("texts/", $id, ".txt")) }),*]
    };
}

/// Every licence and exception that occurs in the recipes and in the stub's libraries.
static TEXTS: [Text; 13] = texts![
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "GPL-2.0",
    "GPL-3.0",
    "ISC",
    "LGPL-2.1",
    "LGPL-3.0",
    "LLVM-exception",
    "MIT",
    "MPL-2.0",
    "Unlicense",
    "Zlib",
];

/// The text an SPDX identifier stands for. That or a later version, or only that, is the same text.
pub(super) fn find(id: &str) -> Option<&'static Text> {
    let stem = ["-only", "-or-later", "+"]
        .iter()
        .find_map(|suffix| id.strip_suffix(suffix))
        .unwrap_or(id);
    TEXTS.iter().find(|text| text.id == stem)
}
