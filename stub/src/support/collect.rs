//! The parts of the archive: names and texts.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::child::{self, Ended};
use crate::cluster::{Current, RECEIPT, Receipt, unit_dir};
use crate::config::Cri;
use crate::error::{Error, Result};
use crate::host::{self, Machine};
use crate::install;
use crate::manager::logs;
use crate::pki;
use crate::progress::Wait;
use crate::services::{Component, Service, UnitName};
use crate::status;

/// How many lines of each log.
const LINES: u32 = 1000;

/// What kubectl is asked for. None of these prints the environment of a container.
const OBJECTS: [(&str, &[&str]); 4] = [
    ("nodes", &["get", "nodes", "--output=wide"]),
    ("node-conditions", &["describe", "nodes"]),
    (
        "pods",
        &["get", "pods", "--all-namespaces", "--output=wide"],
    ),
    (
        "events",
        &[
            "get",
            "events",
            "--all-namespaces",
            "--sort-by=.lastTimestamp",
        ],
    ),
];

/// All parts. One that cannot be had says why.
pub(super) fn all(machine: &Machine, wait: &Wait) -> Vec<(String, String)> {
    let mut parts = Vec::new();
    let mut add = |name: &str, text: Result<String>| {
        let text = text.unwrap_or_else(|error| format!("not available: {error}\n"));
        parts.push((name.to_owned(), text));
    };
    wait.say("the checks of the machine");
    add("doctor.json", doctor(machine));
    let current = match Current::read() {
        Ok(current) => current,
        Err(error) => {
            add(
                "versions.json",
                Ok(pretty(&json!({ "machine": of_machine(machine) }))),
            );
            add("status.json", Err(error));
            return parts;
        }
    };
    wait.say("the cluster's health");
    add("versions.json", versions(&current));
    add("status.json", health(&current));
    add("certificates.json", certificates(&current));
    let data = current.layout.data_dir();
    for (name, file) in [
        ("config.toml", current.layout.config_file()),
        (RECEIPT, data.join(RECEIPT)),
    ] {
        let text = fs_err::read_to_string(file).map_err(Error::from);
        add(&format!("config/{name}"), text);
    }
    for (name, text) in units(&current) {
        add(&format!("config/units/{name}"), text);
    }
    for (name, unit) in logged(&current) {
        wait.say(&format!("the log of {name}"));
        add(&format!("log/{name}.log"), log(&current, name, &unit));
    }
    if current.is_running() {
        for (name, words) in OBJECTS {
            wait.say(name);
            add(&format!("cluster/{name}.txt"), objects(&current, words));
        }
    }
    parts
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn doctor(machine: &Machine) -> Result<String> {
    let findings = install::examine(machine)?;
    let block = host::admin::block(&findings);
    Ok(pretty(&json!({ "admin": block, "findings": findings })))
}

fn of_machine(machine: &Machine) -> Value {
    let read = |file: &str| machine.read(file).unwrap_or_default();
    json!({
        "kernel": read("/proc/version").trim(), "memory": read("/proc/meminfo").lines().next(),
        "distribution": read("/etc/os-release").lines().collect::<Vec<_>>(),
        "program": env!("CARGO_PKG_VERSION"),
    })
}

fn versions(current: &Current) -> Result<String> {
    let generation = &current.generation;
    let manifest = generation.manifest();
    let components: Vec<_> = manifest
        .installed_components()?
        .iter()
        .map(|c| json!({ "name": c.name, "version": c.version }))
        .collect();
    Ok(pretty(&json!({
        "arch": manifest.arch, "bundle": generation.id(), "components": components,
        "generation": generation.number(), "machine": of_machine(&current.machine), "release": manifest.release,
    })))
}

fn health(current: &Current) -> Result<String> {
    let report = status::Report::of(current, status::layers(current)?)?;
    Ok(pretty(&report.json()))
}

/// Names, purposes and dates: [`pki::list`] reads certificates only.
fn certificates(current: &Current) -> Result<String> {
    let (config, request) = (current.layout.config(), current.pki_request());
    let list = pki::list(config, &request, SystemTime::now())?;
    Ok(pretty(&json!({ "certificates": list })))
}

/// The unit files that the receipt names.
fn units(current: &Current) -> Vec<(String, Result<String>)> {
    let receipt = Receipt::read(current.layout.data_dir()).ok().flatten();
    let dir = unit_dir(&current.layout);
    let names = receipt.unwrap_or_default().units.into_keys();
    names
        .map(|name| {
            let text = fs_err::read_to_string(dir.join(&name)).map_err(Error::from);
            (name, text)
        })
        .collect()
}

/// The components that have logs of their own.
fn logged(current: &Current) -> Vec<(&'static str, UnitName)> {
    let cri: Cri = current.config.cri;
    let services = Service::all().map(|s| (s.as_str(), Component::Service(s).unit(cri)));
    services.chain([("certs", UnitName::renewal())]).collect()
}

fn log(current: &Current, name: &'static str, unit: &UnitName) -> Result<String> {
    let data = current.layout.data_dir();
    if logs::exist(data) && (current.direct()?.is_some() || !current.has_units()?) {
        let mut text = String::new();
        for line in logs::tail(data, name, LINES) {
            let _ = writeln!(text, "{line}");
        }
        return Ok(text);
    }
    let mut command = current.systemd()?.journal(std::slice::from_ref(unit))?;
    command.args(["--quiet", "--utc", "--output=short-iso", "--lines"]);
    command.arg(LINES.to_string());
    child::run(&mut command)?.success()
}

fn objects(current: &Current, words: &[&str]) -> Result<String> {
    let mut command = current.own_command(&["kubectl", "--request-timeout=10s"]);
    child::run(command.args(words)).and_then(Ended::success)
}
