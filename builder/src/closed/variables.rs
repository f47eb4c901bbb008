//! Which variables of the user's environment are passed on.

use std::ffi::OsStr;

/// Variables that say where temporary files go, how many jobs run at once, and where cargo finds its
/// downloads: they do not change the compiled bytes.
pub(super) fn is_harmless(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let registry = name
        .strip_prefix("CARGO_REGISTRIES_")
        .is_some_and(|rest| rest.ends_with("_INDEX") || rest.ends_with("_PROTOCOL"));
    registry || ["TMPDIR", "CARGO_BUILD_JOBS"].contains(&name)
}

/// Variables for cargo while it downloads and compiles nothing: of its own only those about the network, and all of
/// other programs, since no list of the variables of proxies, git and login helpers could be complete.
pub(super) fn may_lead_to_a_registry(name: &OsStr) -> bool {
    const OF_CARGO: [&str; 4] = [
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
    ];
    let name = name.to_string_lossy();
    let of_the_toolchain = ["CARGO", "CC_", "RUST"].iter().any(|p| name.starts_with(p));
    !of_the_toolchain || OF_CARGO.iter().any(|p| name.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_depends_on_no_variable() {
        for name in [
            "AR",
            "ARFLAGS",
            "BINDGEN_EXTRA_CLANG_ARGS",
            "CARGO_BUILD_RUSTC_WRAPPER",
            "CARGO_PROFILE_STUB_OPT_LEVEL",
            "CARGO_TARGET_DIR",
            "CARGO_UNSTABLE_BUILD_STD",
            "CC",
            "CPATH",
            "CRATE_CC_NO_DEFAULTS",
            "CXXFLAGS",
            "GCC_EXEC_PREFIX",
            "HOME",
            "HOST_CFLAGS",
            "LD_PRELOAD",
            "LIBRARY_PATH",
            "PATH",
            "PKG_CONFIG_PATH",
            "RUSTC_BOOTSTRAP",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "SOURCE_DATE_EPOCH",
            "ZSTD_SYS_USE_PKG_CONFIG",
        ] {
            assert!(!is_harmless(name.as_ref()), "{name}");
        }
        assert!(is_harmless("CARGO_REGISTRIES_COMPANY_INDEX".as_ref()));
    }

    #[test]
    fn a_download_sees_proxies_certificates_and_logins() {
        for name in [
            "https_proxy",
            "SSL_CERT_FILE",
            "HOME",
            "SSH_AUTH_SOCK",
            "CARGO_HTTP_PROXY",
            "CARGO_NET_GIT_FETCH_WITH_CLI",
            "CARGO_REGISTRIES_COMPANY_TOKEN",
        ] {
            assert!(may_lead_to_a_registry(name.as_ref()), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC",
            "CC_x86_64",
        ] {
            assert!(!may_lead_to_a_registry(name.as_ref()), "{name}");
        }
    }
}
