//! Recipes.
#![no_main]

use builder::recipe::Recipe;

libfuzzer_sys::fuzz_target!(|input: &str| drop(Recipe::parse(input)));
