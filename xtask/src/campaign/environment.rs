//! What a run ran on, for its manifest: the machine, and the network that the load went through.
//!
//! Facts that cannot be read are left out with a note, never guessed.

use std::collections::BTreeMap;
use std::fs;

use lab::{Lab, Place};
use serde_json::Value;
use trace_schema::manifest::RunManifest;

/// Settings of the network stack that decide throughput, below `/proc/sys/net/ipv4`.
const SETTINGS: [&str; 3] = ["tcp_congestion_control", "tcp_rmem", "tcp_wmem"];

/// Puts into the manifest what describes machine and network; `client` is the pod that sends.
pub fn describe(manifest: &mut RunManifest, lab: &Lab, client: &Place) {
    manifest.environment.extend(machine());
    for setting in SETTINGS {
        let path = format!("/proc/sys/net/ipv4/{setting}");
        // These belong to a network namespace, so they are read from inside it.
        if let Ok(Ok(text)) = client.namespace().run(|| fs::read_to_string(&path)) {
            let value = text.split_whitespace().collect::<Vec<_>>().join(" ");
            manifest.environment.insert(setting.to_owned(), value);
        }
    }
    let nodes = lab.node_names().into_iter().map(|name| lab.node(name));
    for place in nodes.chain([client, lab.outside()]) {
        describe_interfaces(manifest, place);
    }
    manifest.versions.extend(versions());
}

/// MTU and offloads of every interface of a place but the loopback.
fn describe_interfaces(manifest: &mut RunManifest, place: &Place) {
    let links = output(place, "ip", &["-json", "link", "show"]);
    let links: Vec<Value> = links
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    for link in &links {
        let Some(name) = link["ifname"].as_str().filter(|name| *name != "lo") else {
            continue;
        };
        let interface = format!("{}/{name}", place.name());
        let mtu = link["mtu"].to_string();
        manifest.environment.insert(format!("mtu.{interface}"), mtu);
        match output(place, "ethtool", &["--show-features", name]) {
            Some(text) => {
                manifest.offloads.insert(interface, enabled_features(&text));
            }
            None => {
                let note = "not read: `ethtool -k` failed or is not installed".to_owned();
                manifest
                    .environment
                    .insert(format!("offloads.{interface}"), note);
            }
        }
    }
}

/// The features that `ethtool -k` says are on.
fn enabled_features(text: &str) -> Vec<String> {
    let features = text.lines().filter_map(|line| {
        let (name, state) = line.trim().split_once(": ")?;
        state.starts_with("on").then(|| name.to_owned())
    });
    features.collect()
}

fn machine() -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            facts.insert(name.to_owned(), value);
        }
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    add("cpu_model", cpuinfo_field(&cpuinfo, "model name"));
    let cpus = std::thread::available_parallelism().ok();
    add("cpus", cpus.map(|cpus| cpus.to_string()));
    add("memory_bytes", memory_bytes());
    add("virtualisation", Some(virtualisation(&cpuinfo)));
    add(
        "clock_source",
        line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    );
    add("boot_id", line("/proc/sys/kernel/random/boot_id"));
    add(
        "cpu_governor",
        line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    );
    add("distribution", distribution());
    facts
}

fn cpuinfo_field(cpuinfo: &str, name: &str) -> Option<String> {
    let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| field.trim() == name)?;
    Some(value.trim().to_owned())
}

fn memory_bytes() -> Option<String> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = cpuinfo_field(&text, "MemTotal")?;
    let kibibytes: u64 = kibibytes.strip_suffix(" kB")?.parse().ok()?;
    Some((kibibytes * 1024).to_string())
}

/// What the firmware calls itself where the processor says that a hypervisor is there.
fn virtualisation(cpuinfo: &str) -> String {
    let flags = cpuinfo_field(cpuinfo, "flags").unwrap_or_default();
    if !flags.split(' ').any(|flag| flag == "hypervisor") {
        return "none seen".to_owned();
    }
    let names =
        ["sys_vendor", "product_name"].map(|name| line(&format!("/sys/class/dmi/id/{name}")));
    let names: Vec<String> = names.into_iter().flatten().collect();
    match names.as_slice() {
        [] => "a hypervisor that does not name itself".to_owned(),
        names => names.join(" "),
    }
}

fn distribution() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// Versions of the system's tools that lay the paths and show them.
fn versions() -> BTreeMap<String, String> {
    let tools = [
        ("iproute2", "ip", "-V"),
        ("iptables", "iptables", "--version"),
    ];
    let versions = tools.into_iter().filter_map(|(name, program, argument)| {
        let mut command = std::process::Command::new(program);
        let text = crate::command::output_of(command.arg(argument))?;
        Some((name.to_owned(), text))
    });
    versions.collect()
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

fn output(place: &Place, program: &str, arguments: &[&str]) -> Option<String> {
    let output = place.run(program, arguments).ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ethtool_says_is_on_is_kept_by_its_name() {
        let text = "Features for eth0:\n\
                    rx-checksumming: on\n\
                    tx-checksumming: off\n\
                    \ttx-checksum-ipv4: off [fixed]\n\
                    tcp-segmentation-offload: on\n\
                    \ttx-tcp-segmentation: on [requested off]\n\
                    large-receive-offload: off [fixed]\n";
        assert_eq!(
            enabled_features(text),
            [
                "rx-checksumming",
                "tcp-segmentation-offload",
                "tx-tcp-segmentation"
            ]
        );
    }

    #[test]
    fn this_machine_is_described() {
        let facts = machine();
        for name in ["cpus", "memory_bytes", "virtualisation", "boot_id"] {
            assert!(facts.contains_key(name), "{name} is not in {facts:?}");
        }
        assert!(facts["memory_bytes"].parse::<u64>().unwrap() > 1 << 20);
    }
}
