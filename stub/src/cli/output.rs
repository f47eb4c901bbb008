//! Data on stdout: tables for people, JSON for scripts.

use serde_json::Value;

use crate::error::Result;
pub(super) use crate::output::data as print;
pub(super) use crate::table::table;

/// Writes an object to stdout, with sorted keys.
pub(super) fn print_json(value: &Value) -> Result<()> {
    print(&format!("{value:#}\n"))
}
