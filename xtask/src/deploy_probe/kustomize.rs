//! The kustomize folders: a base, an overlay a target, and the sampling profile as a component.
//!
//! All of it is the difference between renderings of the one typed source, written as JSON patches,
//! so that an overlay cannot say something else than `deploy-probe` does.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::manifests::{self, Part};
use super::settings::{IMAGE_NAME, Settings, Target};
use super::yaml;
use crate::command::workspace_root;

const HEADER: &str =
    "# Rendered by `cargo xtask manifests`; the source is xtask/src/deploy_probe/manifests.\n";
const RESOURCE: &str = "kustomize.config.k8s.io/v1beta1";
const COMPONENT: &str = "kustomize.config.k8s.io/v1alpha1";

/// Options of `cargo xtask manifests`.
#[derive(clap::Args)]
pub struct Options {
    /// Write nothing; fail where a file differs from what would be written.
    #[arg(long)]
    check: bool,
}

/// A rendered file.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Path below `deploy/manifests`.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Runs the task.
pub fn run(options: Options) -> anyhow::Result<std::process::ExitCode> {
    let root = folder();
    if options.check {
        let stale = stale(&root)?;
        if !stale.is_empty() {
            bail!(
                "{} differ from their source: run `cargo xtask manifests`",
                stale.join(", ")
            );
        }
        return Ok(std::process::ExitCode::SUCCESS);
    }
    for file in files()? {
        let path = root.join(&file.path);
        let parent = path.parent().unwrap_or(&root);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, &file.text))
            .with_context(|| format!("could not write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// Where the folders lie.
fn folder() -> std::path::PathBuf {
    workspace_root().join("deploy/manifests")
}

fn stale(root: &Path) -> anyhow::Result<Vec<String>> {
    let differs = |file: &File| {
        fs::read_to_string(root.join(&file.path)).map_or(true, |text| text != file.text)
    };
    Ok(files()?
        .into_iter()
        .filter(differs)
        .map(|file| file.path)
        .collect())
}

/// Every file below `deploy/manifests`.
pub fn files() -> anyhow::Result<Vec<File>> {
    let base = Settings::base();
    let parts = manifests::parts(&base);
    let mut files = Vec::new();
    for Part { name, objects } in &parts {
        files.push(File {
            path: format!("base/{name}.yaml"),
            text: HEADER.to_owned() + &yaml::documents(objects)?,
        });
    }
    let resources: Vec<_> = parts
        .iter()
        .map(|part| format!("{}.yaml", part.name))
        .collect();
    files.push(kustomization(
        "base",
        json!({"apiVersion": RESOURCE, "kind": "Kustomization", "resources": resources}),
    )?);
    for target in Target::ALL {
        files.push(overlay(&base, target)?);
    }
    let profile = Settings {
        profile: true,
        ..base.clone()
    };
    files.push(kustomization(
        "components/profile",
        json!({
            "apiVersion": COMPONENT,
            "kind": "Component",
            "patches": patches(&base, &profile)?,
        }),
    )?);
    files.push(kustomization(
        "overlays/profile",
        json!({
            "apiVersion": RESOURCE,
            "kind": "Kustomization",
            "resources": ["../../base"],
            "components": ["../../components/profile"],
        }),
    )?);
    Ok(files)
}

fn overlay(base: &Settings, target: Target) -> anyhow::Result<File> {
    let settings = Settings::of(target);
    // The image is set by its own transformer, which `kustomize edit set image` knows.
    let same_image = Settings {
        image: settings.image.clone(),
        ..base.clone()
    };
    let (name, tag) = settings
        .image
        .rsplit_once(':')
        .context("the image has no tag")?;
    let mut content = json!({
        "apiVersion": RESOURCE,
        "kind": "Kustomization",
        "resources": ["../../base"],
        "images": [{"name": IMAGE_NAME, "newName": name, "newTag": tag}],
    });
    let patches = patches(&same_image, &settings)?;
    if !patches.is_empty() {
        content["patches"] = json!(patches);
    }
    kustomization(&format!("overlays/{}", target.name()), content)
}

fn kustomization(folder: &str, content: Value) -> anyhow::Result<File> {
    Ok(File {
        path: format!("{folder}/kustomization.yaml"),
        text: HEADER.to_owned() + &yaml::document(&content)?,
    })
}

/// JSON patches that lead from one rendering to another, an entry an object that differs.
fn patches(from: &Settings, to: &Settings) -> anyhow::Result<Vec<Value>> {
    let (before, after) = (manifests::objects(from), manifests::objects(to));
    let mut patches = Vec::new();
    for (old, new) in before.iter().zip(&after) {
        let mut operations = Vec::new();
        difference(old, new, "", &mut operations);
        if operations.is_empty() {
            continue;
        }
        patches.push(json!({
            "target": {"kind": old["kind"], "name": old["metadata"]["name"]},
            "patch": yaml::document(&json!(operations))?,
        }));
    }
    Ok(patches)
}

/// RFC 6902 operations. A list that only grew is added to, so that patches can follow each other.
fn difference(old: &Value, new: &Value, path: &str, operations: &mut Vec<Value>) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}/{}", escaped(key));
                match after.get(key) {
                    Some(changed) => difference(value, changed, &path, operations),
                    None => operations.push(json!({"op": "remove", "path": path})),
                }
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                let path = format!("{path}/{}", escaped(key));
                operations.push(json!({"op": "add", "path": path, "value": value}));
            }
        }
        (Value::Array(before), Value::Array(after)) if after.starts_with(before) => {
            for value in &after[before.len()..] {
                let path = format!("{path}/-");
                operations.push(json!({"op": "add", "path": path, "value": value}));
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (position, (old, new)) in before.iter().zip(after).enumerate() {
                difference(old, new, &format!("{path}/{position}"), operations);
            }
        }
        _ if old != new => {
            operations.push(json!({"op": "replace", "path": path, "value": new}));
        }
        _ => {}
    }
}

/// A key in a JSON pointer, RFC 6901.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_folders_are_what_the_source_renders() {
        let stale = stale(&folder()).unwrap();
        assert!(stale.is_empty(), "run `cargo xtask manifests`: {stale:?}");
    }

    #[test]
    fn a_difference_names_what_was_added_changed_and_removed() {
        let mut operations = Vec::new();
        difference(
            &json!({"a": 1, "b/c": 2, "d": [1], "e": [1, 2], "f": 0}),
            &json!({"a": 1, "b/c": 3, "d": [1, 4], "e": [2, 2], "g": {}}),
            "",
            &mut operations,
        );
        assert_eq!(
            operations,
            [
                json!({"op": "replace", "path": "/b~1c", "value": 3}),
                json!({"op": "add", "path": "/d/-", "value": 4}),
                json!({"op": "replace", "path": "/e/0", "value": 2}),
                json!({"op": "remove", "path": "/f"}),
                json!({"op": "add", "path": "/g", "value": {}}),
            ]
        );
    }
}
