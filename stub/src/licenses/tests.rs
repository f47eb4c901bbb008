use super::*;
use crate::bundle::{BundlePath, example};

/// The end of the part before the texts.
const RULE: &str = "────";

fn head(text: &str) -> &str {
    text.split(RULE).next().unwrap()
}

fn headings(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|l| l.strip_prefix("──── ")?.strip_suffix(" ────"))
        .collect()
}

#[test]
fn an_overview_has_no_texts() {
    insta::assert_snapshot!(overview(&example::manifest()).unwrap(), @r"
    usernetes 0.1.0: Apache-2.0
      https://github.com/rootless-containers/usernetes

    crun 1.29.1: GPL-2.0-or-later AND LGPL-2.1-or-later
      https://crun.example.org
      https://github.com/containers/crun/releases/download/1.29.1/crun-1.29.1-linux-amd64
        sha256:be25f16d0616400da9b99487bb25c1459625e86c3f660f0c6467fd098301276e

    libmnl 1.0.4-3: LGPL-2.1-or-later
      https://libmnl.example.org
      debian:pool/main/libm/libmnl/libmnl0_1.0.4-3_amd64.deb
        sha256:b143aa9a675aae55476e0d9f2820894170920e001455b3be8ffb7594e31e73b8

    linked into usernetes:
      console 0.16.6: MIT
      rustix 1.1.6: Apache-2.0 WITH LLVM-exception OR MIT

    to read the texts: `usernetes licenses NAME`, or `usernetes licenses --all`
    ");
}

#[test]
fn a_component_with_its_texts_and_its_source_code() {
    let text = of(&example::manifest(), "crun").unwrap();
    insta::assert_snapshot!(head(&text), @r"
    crun 1.29.1: GPL-2.0-or-later AND LGPL-2.1-or-later
      https://crun.example.org
      https://github.com/containers/crun/releases/download/1.29.1/crun-1.29.1-linux-amd64
        sha256:be25f16d0616400da9b99487bb25c1459625e86c3f660f0c6467fd098301276e
      source code:
        https://github.com/containers/crun/archive/refs/tags/1.29.1.tar.gz
        https://crun.example.org
      Its licence entitles you to its complete source code, including that of everything linked into it. If the places
      named here do not have it, ask for it at https://github.com/rootless-containers/usernetes/issues
    ");
    assert_eq!(headings(&text), ["GPL-2.0", "LGPL-2.1"]);
    assert!(text.contains("TERMS AND CONDITIONS FOR COPYING, DISTRIBUTION AND MODIFICATION"));
}

#[test]
fn a_debian_package_names_its_source_package() {
    let text = of(&example::manifest(), "libmnl").unwrap();
    insta::assert_snapshot!(head(&text), @r"
    libmnl 1.0.4-3: LGPL-2.1-or-later
      https://libmnl.example.org
      debian:pool/main/libm/libmnl/libmnl0_1.0.4-3_amd64.deb
        sha256:b143aa9a675aae55476e0d9f2820894170920e001455b3be8ffb7594e31e73b8
      source code:
        `apt-get source libmnl0=1.0.4-3`, on the Debian release it is from
        https://libmnl.example.org
      Its licence entitles you to its complete source code, including that of everything linked into it. If the places
      named here do not have it, ask for it at https://github.com/rootless-containers/usernetes/issues
    ");
}

#[test]
fn notices_that_come_with_a_component_are_named() {
    let mut manifest = example::manifest();
    manifest.components[1].files[0].path = BundlePath::new("share/doc/libmnl0/copyright").unwrap();
    let text = of(&manifest, "libmnl").unwrap();
    let line = "its authors' own notices, once installed: share/doc/libmnl0/copyright\n";
    assert!(head(&text).contains(line), "{text}");
}

#[test]
fn the_stub_comes_with_what_is_linked_into_it() {
    let text = of(&example::manifest(), "usernetes").unwrap();
    insta::assert_snapshot!(head(&text), @r"
    usernetes 0.1.0: Apache-2.0
      https://github.com/rootless-containers/usernetes
      source code:
        https://github.com/rootless-containers/usernetes

    console 0.16.6: MIT
      pkg:cargo/console@0.16.6
      Copyright (c) 2017 Armin Ronacher

    rustix 1.1.6: Apache-2.0 WITH LLVM-exception OR MIT
      pkg:cargo/rustix@1.1.6
    ");
    assert_eq!(headings(&text), ["Apache-2.0", "LLVM-exception", "MIT"]);
}

#[test]
fn a_library_by_its_name() {
    let text = of(&example::manifest(), "console").unwrap();
    insta::assert_snapshot!(head(&text), @r"
    console 0.16.6: MIT
      pkg:cargo/console@0.16.6
      Copyright (c) 2017 Armin Ronacher
    ");
}

#[test]
fn an_unknown_name() {
    let error = of(&example::manifest(), "docker").unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    insta::assert_snapshot!(error, @r"
    nothing in this bundle is named `docker`

    hint: `usernetes licenses` without a name lists all components and libraries
    ");
}

#[test]
fn the_complete_document_has_each_text_once() {
    let text = complete(&example::manifest()).unwrap();
    assert_eq!(
        headings(&text),
        ["Apache-2.0", "GPL-2.0", "LGPL-2.1", "LLVM-exception", "MIT"]
    );
}

#[test]
fn the_lgpl_3_comes_with_the_gpl_3() {
    let mut manifest = example::manifest();
    manifest.components[0].license = "LGPL-3.0-or-later".to_owned();
    let text = of(&manifest, "crun").unwrap();
    assert_eq!(headings(&text), ["GPL-3.0", "LGPL-3.0"]);
}

#[test]
fn a_licence_without_a_text_is_said_to_be_missing() {
    let mut manifest = example::manifest();
    manifest.components[0].license = "Beerware".to_owned();
    let text = of(&manifest, "crun").unwrap();
    assert!(
        text.contains("https://spdx.org/licenses/Beerware.html"),
        "{text}"
    );
}

#[test]
fn a_text_is_the_one_its_name_says() {
    for (id, words) in [
        ("Apache-2.0", "Version 2.0, January 2004"),
        (
            "BSD-2-Clause",
            "Redistributions in binary form must reproduce",
        ),
        ("BSD-3-Clause", "Neither the name of the copyright holder"),
        ("GPL-2.0-only", "Version 2, June 1991"),
        ("GPL-3.0-or-later", "Version 3, 29 June 2007"),
        ("ISC", "with or without fee is hereby granted"),
        ("LGPL-2.1+", "Version 2.1, February 1999"),
        (
            "LGPL-3.0",
            "incorporates\nthe terms and conditions of version 3 of the GNU General Public",
        ),
        (
            "LLVM-exception",
            "LLVM Exceptions to the Apache 2.0 License",
        ),
        ("MIT", "Permission is hereby granted, free of charge"),
        ("MPL-2.0", "Mozilla Public License Version 2.0"),
        ("Unlicense", "released into the public domain"),
    ] {
        assert!(text(id).unwrap().contains(words), "{id}");
    }
    assert_eq!(text("GPL-2.1"), None);
}
