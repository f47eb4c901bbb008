//! Images out of a registry.

use builder::oci::Image;
use stub::error::Kind;

use super::*;
use support::server::Behaviour;
use support::server::Behaviour::{Good, Redirect, Short};

/// An image for two architectures, of which one is fetched.
pub(crate) struct TestImage {
    pub(crate) index: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    config: Vec<u8>,
    layers: [Vec<u8>; 2],
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(content), "size": content.len()})
}

impl TestImage {
    pub(crate) fn new() -> Self {
        let config = json!({"os": "linux", "architecture": "amd64"})
            .to_string()
            .into_bytes();
        let layers = [b"the first layer".to_vec(), b"the second layer".to_vec()];
        let layer = |l: &Vec<u8>| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", l);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let mut other = descriptor("application/vnd.oci.image.manifest.v1+json", b"other");
        other["platform"] = json!({"os": "linux", "architecture": "s390x"});
        let index = json!({"schemaVersion": 2, "manifests": [other, entry]})
            .to_string()
            .into_bytes();
        Self {
            index,
            manifest,
            config,
            layers,
        }
    }

    /// Every file it consists of.
    pub(crate) fn parts(&self) -> Vec<Vec<u8>> {
        let documents = [&self.index, &self.manifest, &self.config];
        documents.into_iter().chain(&self.layers).cloned().collect()
    }

    /// Puts it into a registry, whose blobs are on another server.
    pub(crate) fn publish(&self, registry: &Server, blobs: &Server) {
        for document in [&self.index, &self.manifest] {
            registry.good(&path("manifests", document), document);
        }
        for blob in [&self.config].into_iter().chain(&self.layers) {
            let elsewhere = blobs.good(&format!("/storage/{}", digest_of(blob).hex()), blob);
            registry.route(&path("blobs", blob), b"", [Redirect(elsewhere)]);
        }
    }

    pub(crate) fn pin(&self, registry: &Server) -> Value {
        artifact(
            "oci-image",
            &[format!("oci://{}/dns/core:v1.2.3", registry.host())],
            &self.index,
        )
    }
}

fn path(what: &str, content: &[u8]) -> String {
    format!("/v2/dns/core/{what}/{}", digest_of(content))
}

#[test]
fn an_image_comes_with_all_its_parts_and_the_token_stays_with_the_registry() {
    let lab = Lab::new();
    let (blobs, login) = (Server::start(), Server::start());
    let image = TestImage::new();
    image.publish(&lab.server, &blobs);
    login.good("/token", br#"{"token": "s3cret"}"#);
    let realm = login.url("/token");
    let challenge = format!(
        r#"Bearer realm="{realm}",service="registry.test",scope="repository:dns/core:pull""#
    );
    lab.server.guard("/v2/", "s3cret", challenge);

    let summary = lab.fetch(&lockfile([image.pin(&lab.server)])).unwrap();
    assert_eq!((summary.fetched, summary.cached), (5, 0));
    let read = Image::read(&lab.cache, &digest_of(&image.index), Arch::X86_64).unwrap();
    assert_eq!(read.manifest.digest, digest_of(&image.manifest));
    assert_eq!(read.config.digest, digest_of(&image.config));
    let layers: Vec<_> = read.layers.iter().map(|l| l.digest).collect();
    assert_eq!(layers, image.layers.each_ref().map(|l| digest_of(l)));

    let asked = login.requests();
    assert_eq!(asked.len(), 1, "one token for all of it");
    assert_eq!(
        asked[0].path,
        "/token?service=registry.test&scope=repository%3Adns%2Fcore%3Apull"
    );
    let stored = blobs.requests();
    assert_eq!(stored.len(), 3);
    for request in asked.iter().chain(&stored) {
        assert_eq!(request.header("authorization"), None, "{}", request.path);
    }
    let ours = lab.server.requests();
    assert!(
        ours[1..]
            .iter()
            .all(|r| r.header("authorization") == Some("Bearer s3cret"))
    );
    let accept = ours[0].header("accept").unwrap();
    assert!(
        accept.contains("vnd.oci.image.index.v1+json") && accept.contains("manifest.list.v2+json"),
        "{accept}"
    );

    let again = lab.fetch(&lockfile([image.pin(&lab.server)])).unwrap();
    assert_eq!((again.fetched, again.cached), (0, 5));
}

#[test]
fn a_manifest_without_an_index_and_an_interrupted_layer() {
    let lab = Lab::new();
    let image = TestImage::new();
    image.publish(&lab.server, &lab.server);
    let layer = &image.layers[1];
    lab.server
        .route(&path("blobs", layer), layer, [Short(5), Good]);
    let mut pin = image.pin(&lab.server);
    pin["digest"] = json!(digest_of(&image.manifest));
    pin["size"] = json!(image.manifest.len());
    let summary = lab.fetch(&lockfile([pin])).unwrap();
    assert_eq!(summary.fetched, 4);
    let requests = lab.server.requests_for(&path("blobs", layer));
    assert_eq!(requests[1].header("range"), Some("bytes=5-"));
    let read = Image::read(&lab.cache, &digest_of(&image.manifest), Arch::X86_64).unwrap();
    assert!(read.indexes.is_empty());
}

#[test]
fn a_swapped_document_or_layer_is_refused() {
    let image = TestImage::new();
    let evil = |content: &[u8]| {
        let mut evil = content.to_vec();
        let at = evil.len() - 2;
        evil[at] ^= 1;
        evil
    };
    for (what, content, named) in [
        ("manifests", &image.index, "tool-0 1.2.3:"),
        ("manifests", &image.manifest, "tool-0 1.2.3 manifest:"),
        ("blobs", &image.config, "tool-0 1.2.3 configuration:"),
        ("blobs", &image.layers[1], "tool-0 1.2.3 layer 2/2:"),
    ] {
        let lab = Lab::new();
        image.publish(&lab.server, &lab.server);
        let path = path(what, content);
        lab.server.good(&path, &evil(content));
        let error = lab.fetch(&lockfile([image.pin(&lab.server)])).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        let shown = lab.shown(&error);
        assert!(shown.starts_with(named), "{shown}");
        assert!(shown.contains(&format!("http://HOST{path}")), "{shown}");
        assert!(shown.contains(&digest_of(&evil(content)).hex()), "{shown}");
        assert!(shown.contains("`builder lock --update tool-0`"), "{shown}");
        assert!(!lab.cache.contains(&digest_of(content)));
    }
}

#[test]
fn an_image_for_other_machines_is_refused() {
    let lab = Lab::new();
    let image = TestImage::new();
    let index = String::from_utf8(image.index.clone())
        .unwrap()
        .replace("amd64", "ppc64le");
    lab.server
        .good(&path("manifests", index.as_bytes()), index.as_bytes());
    let url = format!("oci://{}/dns/core:v1.2.3", lab.server.host());
    let pins = lockfile([artifact("oci-image", &[url], index.as_bytes())]);
    let error = lab.fetch(&pins).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    let shown = lab.shown(&error);
    assert!(shown.starts_with("tool-0 1.2.3: "), "{shown}");
    assert!(shown.contains("expected  linux/amd64"), "{shown}");
    assert!(
        shown.contains("found     linux/s390x, linux/ppc64le"),
        "{shown}"
    );
    assert!(shown.contains("`builder lock --update`"), "{shown}");
}

#[test]
fn a_registry_that_wants_a_real_login_is_an_error() {
    let image = TestImage::new();
    for (challenge, why) in [
        (
            "Basic realm=\"private\"",
            "HOST wants a login for `dns/core`, and the builder has none: it accepts only Basic",
        ),
        (
            "Negotiate, Digest realm=\"Bearer realm=x\", qop=\"auth\"",
            "the builder has none: it accepts only Negotiate, Digest",
        ),
        ("Bearer service=\"none\"", "it accepts only Bearer"),
        (
            "Bearer realm=\"http://HOST/none\"",
            "no token from http://HOST/none: 404",
        ),
        (
            "Bearer realm=\"http://HOST/token\"",
            "the builder has none: the image is private, or it does not exist",
        ),
        (
            "Bearer realm=\"http://HOST/private\"",
            "the builder has none: http://HOST/private answers 401 Unauthorized",
        ),
        (
            "Bearer realm=\"http://HOST/page\"",
            "no token from http://HOST/page: ",
        ),
        (
            "Bearer realm=\"http://HOST/busy\"",
            "no token from http://HOST/busy: 503 Service Unavailable (4 tries)",
        ),
    ] {
        let lab = Lab::new();
        lab.server
            .good("/token", br#"{"access_token": "not the right one"}"#);
        lab.server.good("/page", b"<html>");
        lab.server.route("/busy", b"", [Behaviour::status(503)]);
        lab.server.route("/private", b"", [Behaviour::status(401)]);
        let challenge = challenge.replace("HOST", &lab.server.host());
        lab.server.guard("/v2/", "s3cret", challenge);
        let error = lab.fetch(&lockfile([image.pin(&lab.server)])).unwrap_err();
        assert_eq!(error.kind(), Kind::Network);
        let shown = lab.shown(&error);
        assert!(shown.contains(why) && shown.contains("--mirror"), "{shown}");
    }
}

#[test]
fn the_login_for_everybody_is_taken_wherever_it_stands() {
    let image = TestImage::new();
    let basic = "Basic realm=\"log in, please\", charset=\"UTF-8\"";
    for challenges in [
        vec![format!("{basic}, BEARER")],
        vec![basic.to_owned(), "Bearer".to_owned()],
        vec!["Negotiate TlRMTVNTUAACAA==, bearer".to_owned()],
    ] {
        let lab = Lab::new();
        image.publish(&lab.server, &lab.server);
        lab.server.good("/token", br#"{"token": "s3cret"}"#);
        let parameters = format!(
            " realm=\"{}\" , scope=\"repository:dns/core:pull,push\"",
            lab.server.url("/token")
        );
        let mut challenges = challenges;
        *challenges.last_mut().unwrap() += &parameters;
        lab.server.guard_by("/v2/", "s3cret", challenges);
        let summary = lab.fetch(&lockfile([image.pin(&lab.server)])).unwrap();
        assert_eq!(summary.fetched, 5);
        assert_eq!(
            lab.server.requests_for("/token")[0].path,
            "/token?scope=repository%3Adns%2Fcore%3Apull%2Cpush"
        );
    }
}

/// An index whose first entries are for newer processors and for nobody knows what.
#[test]
fn the_manifest_for_every_processor_is_fetched_and_a_mirror_has_what_led_to_it() {
    let lab = Lab::new();
    let image = TestImage::new();
    image.publish(&lab.server, &lab.server);
    let mut other = image.config.clone();
    other.push(b' ');
    let other = String::from_utf8(other)
        .unwrap()
        .replace("amd64", "riscv64");
    let config = descriptor("application/vnd.oci.image.config.v1+json", other.as_bytes());
    let unsaid = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    let entry = |content: &[u8]| descriptor("application/vnd.oci.image.manifest.v1+json", content);
    let mut newer = entry(b"never fetched");
    newer["platform"] = json!({"os": "linux", "architecture": "amd64", "variant": "v3"});
    let entries = [newer, entry(unsaid.as_bytes()), entry(&image.manifest)];
    let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
    for (what, content) in [
        ("manifests", &index),
        ("manifests", &unsaid),
        ("blobs", &other),
    ] {
        lab.server
            .good(&path(what, content.as_bytes()), content.as_bytes());
    }
    let url = format!("oci://{}/dns/core:v1.2.3", lab.server.host());
    let pins = lockfile([artifact("oci-image", &[url], index.as_bytes())]);
    let summary = lab.fetch(&pins).unwrap();
    assert_eq!((summary.fetched, summary.cached), (7, 0));
    let read = Image::read(&lab.cache, &digest_of(index.as_bytes()), Arch::X86_64).unwrap();
    assert_eq!(read.manifest.digest, digest_of(&image.manifest));

    let mirror = lab.home.path().join("mirror");
    let exported =
        builder::mirror::export(&pins, &[Arch::X86_64], &[], &lab.cache, &mirror).unwrap();
    assert_eq!(exported.files, 7);
    let elsewhere = Lab::new();
    let summary = elsewhere.fetch_with(&pins, |options| {
        options.offline = true;
        options.mirror = Some(builder::mirror::Mirror::Directory(mirror));
    });
    assert_eq!(summary.unwrap().fetched, 7);
}

#[test]
fn offline_names_the_parts_that_are_missing() {
    let image = TestImage::new();
    let lab = Lab::new();
    let pins = lockfile([image.pin(&lab.server)]);
    let missing = || {
        let error = lab
            .fetch_with(&pins, |options| options.offline = true)
            .unwrap_err();
        error.to_string()
    };
    let mut shown = missing();
    assert!(shown.contains(&digest_of(&image.index).hex()), "{shown}");
    for document in [&image.index, &image.manifest] {
        lab.cache
            .insert(&digest_of(document), document.as_slice())
            .unwrap();
        shown = missing();
    }
    for part in [&image.config].into_iter().chain(&image.layers) {
        assert!(shown.contains(&digest_of(part).hex()), "{shown}");
    }
    assert!(lab.server.requests().is_empty());
}
