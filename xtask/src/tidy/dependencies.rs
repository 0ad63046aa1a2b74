//! The direction of dependencies between the crates, and what each must never see.
//!
//! Edges come from cargo's own metadata. Dependencies for tests are free; what a crate uses when
//! it runs is held against the table, and what it must never see is looked for all the way down.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use super::Breach;

struct Rule {
    package: &'static str,
    /// Crates of the workspace that it may use.
    workspace: &'static [&'static str],
    /// The only other crates that it may use, where that is restricted.
    only: Option<&'static [&'static str]>,
    /// Crates that must not appear among its dependencies, direct or not.
    never: &'static [&'static str],
}

const RULES: [Rule; 5] = [
    Rule {
        package: "probe-abi",
        workspace: &[],
        only: Some(&["zerocopy", "aya"]),
        never: &[],
    },
    Rule {
        package: "trace-schema",
        workspace: &[],
        only: None,
        never: &["aya", "aya-obj", "kube", "datafusion"],
    },
    Rule {
        package: "probe-ebpf",
        workspace: &["probe-abi"],
        only: Some(&["aya-ebpf", "aya-log-ebpf", "zerocopy"]),
        never: &["tokio"],
    },
    Rule {
        package: "probe-user",
        workspace: &["probe-abi", "trace-schema"],
        only: None,
        never: &["analyzer", "datafusion", "lab"],
    },
    Rule {
        package: "analyzer",
        workspace: &["trace-schema"],
        only: None,
        never: &[
            "aya",
            "aya-obj",
            "kube",
            "datafusion",
            "probe-abi",
            "probe-user",
            "lab",
        ],
    },
];

/// Holds the workspace's dependency graph against the table.
pub fn check(root: &Path) -> anyhow::Result<Vec<Breach>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .exec()
        .context("could not read the workspace's metadata")?;
    Ok(RULES
        .iter()
        .flat_map(|rule| breaches(rule, &metadata))
        .collect())
}

fn breaches(rule: &Rule, metadata: &Metadata) -> Vec<Breach> {
    let members: BTreeSet<&str> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let Some(package) = metadata
        .workspace_packages()
        .into_iter()
        .find(|p| p.name.as_str() == rule.package)
    else {
        return vec![Breach::new(
            rule.package,
            "the crate is gone: mend the table in tidy",
        )];
    };
    let mut breaches = Vec::new();
    let mut complain = |used: &str, why: &str| {
        breaches.push(Breach::new(rule.package, format!("uses {used}, {why}")));
    };
    for dependency in &package.dependencies {
        if dependency.kind != DependencyKind::Normal {
            continue;
        }
        let used = dependency.name.as_str();
        if members.contains(used) {
            if !rule.workspace.contains(&used) {
                complain(used, "which is not below it");
            }
        } else if rule.only.is_some_and(|only| !only.contains(&used)) {
            complain(used, "which is not among the crates that it may use");
        }
    }
    for used in reachable(&package.id, metadata) {
        if rule.never.contains(&used.as_str()) {
            complain(&used, "which it must never see");
        }
    }
    breaches
}

/// Names of all that a package depends on to run.
fn reachable(start: &PackageId, metadata: &Metadata) -> BTreeSet<String> {
    let Some(resolve) = &metadata.resolve else {
        return BTreeSet::new();
    };
    let nodes: HashMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let (mut open, mut seen) = (vec![start], BTreeSet::from([start]));
    while let Some(node) = open.pop().and_then(|id| nodes.get(id)) {
        for dependency in &node.deps {
            let runs = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal);
            if runs && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen.remove(start);
    seen.iter()
        .map(|id| metadata[id].name.to_string())
        .collect()
}
