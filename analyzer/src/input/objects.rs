//! Kubernetes objects from a folder of YAML and JSON files, as `kubectl get -o yaml|json` writes
//! them or as people keep them in a repository.
//!
//! Such files say nothing of time but when an object was created: each object counts from then,
//! or from ever where it does not say. Files with other endings are left alone.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use trace_schema::objects::{ObjectEvent, ObjectRow};

use crate::objects::{ALWAYS_US, History, ObjectError};

/// Why a folder of objects cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The folder or a file in it cannot be read.
    #[error("{}: {source}: give --objects a readable folder", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The folder has no file that could hold objects.
    #[error("{}: no .yaml, .yml or .json file: give --objects a folder with some", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A document is not YAML or JSON.
    #[error("{}: document {document}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The document in it, from 1.
        document: usize,
        /// What the parser says, in one line.
        reason: String,
    },
    /// A field that every object has is absent or of another type.
    #[error("{}: document {document}: field {field}: {expected}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The document in it, from 1.
        document: usize,
        /// Path of the field.
        field: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A field does not have the shape that the object's kind gives it.
    #[error("{}: document {document}: {source}", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// The document in it, from 1.
        document: usize,
        /// The object and the field.
        #[source]
        source: ObjectError,
    },
}

/// Reads every object of every `.yaml`, `.yml` and `.json` file of a folder and its sub-folders,
/// in order of the files' names.
pub fn read_folder(folder: &Path) -> Result<Vec<ObjectRow>, ObjectsError> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    if files.is_empty() {
        return Err(ObjectsError::Empty {
            path: folder.to_owned(),
        });
    }
    files.sort();
    let mut rows = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|source| ObjectsError::Read {
            path: file.clone(),
            source,
        })?;
        rows.extend(read_text(&file, &text)?);
    }
    Ok(rows)
}

/// Reads the objects of one file's text; `path` names it in errors and tells JSON from YAML.
pub fn read_text(path: &Path, text: &str) -> Result<Vec<ObjectRow>, ObjectsError> {
    let mut rows = Vec::new();
    for (index, value) in documents(path, text)?.iter().enumerate() {
        let document = Document {
            path,
            number: index + 1,
        };
        document.read(value, "", None, &mut rows)?;
    }
    Ok(rows)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), ObjectsError> {
    let failed = |source| ObjectsError::Read {
        path: folder.to_owned(),
        source,
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if entry.file_type().map_err(failed)?.is_dir() {
            collect(&path, files)?;
        } else if matches!(ending, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    Ok(())
}

fn documents(path: &Path, text: &str) -> Result<Vec<Value>, ObjectsError> {
    let syntax = |document, reason: String| {
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        ObjectsError::Syntax {
            path: path.to_owned(),
            document,
            reason,
        }
    };
    let mut values = Vec::new();
    if path.extension().is_some_and(|ending| ending == "json") {
        for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            let value = value.map_err(|error| syntax(values.len() + 1, error.to_string()))?;
            values.push(value);
        }
        return Ok(values);
    }
    for document in yaml_documents(text) {
        let number = values.len() + 1;
        let value: Option<Value> =
            serde_saphyr::from_str(&document).map_err(|error| syntax(number, error.to_string()))?;
        values.push(value.unwrap_or(Value::Null));
    }
    Ok(values)
}

/// Splits a stream at its `---` lines, so that an error can name its document. Each document keeps
/// its line numbers.
fn yaml_documents(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut document = String::new();
    for (index, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            documents.push(std::mem::replace(&mut document, "\n".repeat(index)));
            document.push_str(line.strip_prefix("---").unwrap_or_default());
        } else {
            document.push_str(line);
        }
        document.push('\n');
    }
    documents.push(document);
    let says_something = |document: &String| {
        let mut lines = document.lines().map(str::trim);
        lines.any(|line| !line.is_empty() && !line.starts_with('#'))
    };
    documents.retain(says_something);
    documents
}

/// A document of a file.
#[derive(Clone, Copy)]
struct Document<'p> {
    path: &'p Path,
    number: usize,
}

impl Document<'_> {
    /// Reads an object, or each item of a list; items of a typed list may leave out what the list
    /// says for them.
    fn read(
        self,
        value: &Value,
        at: &str,
        list: Option<(&str, &str)>,
        rows: &mut Vec<ObjectRow>,
    ) -> Result<(), ObjectsError> {
        if value.is_null() {
            return Ok(());
        }
        if !value.is_object() {
            return Err(self.field(at, "", "an object is a mapping"));
        }
        let stated = |field: &str| value.get(field).and_then(Value::as_str);
        let Some(kind) = stated("kind").or(list.map(|(_, kind)| kind)) else {
            return Err(self.field(at, "kind", "every object has a kind, e.g. Egress"));
        };
        let Some(api_version) = stated("apiVersion").or(list.map(|(version, _)| version)) else {
            return Err(self.field(at, "apiVersion", "every object has one, e.g. v1"));
        };
        let Some(items) = value.get("items").filter(|_| kind.ends_with("List")) else {
            rows.push(self.row(value, at, api_version, kind)?);
            return Ok(());
        };
        let Some(items) = items.as_array() else {
            return Err(self.field(at, "items", "the items of a list are a sequence"));
        };
        let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        for (index, item) in items.iter().enumerate() {
            let typed = item_kind.map(|kind| (api_version, kind));
            self.read(item, &format!("{at}items[{index}]."), typed, rows)?;
        }
        Ok(())
    }

    fn row(
        self,
        value: &Value,
        at: &str,
        api_version: &str,
        kind: &str,
    ) -> Result<ObjectRow, ObjectsError> {
        let metadata = |field: &str| {
            let text = value.get("metadata")?.get(field)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let Some(name) = metadata("name") else {
            return Err(self.field(at, "metadata.name", "every object has a name"));
        };
        let observed_at_us = match metadata("creationTimestamp") {
            None => ALWAYS_US,
            Some(text) => chrono::DateTime::parse_from_rfc3339(&text)
                .map_err(|_| {
                    let expected = "an RFC 3339 time, e.g. 2026-01-31T12:00:00Z";
                    self.field(at, "metadata.creationTimestamp", expected)
                })?
                .timestamp_micros(),
        };
        let row = ObjectRow {
            observed_at_us,
            event: ObjectEvent::Added,
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: metadata("namespace").or_else(|| in_default(kind)),
            name,
            uid: metadata("uid").unwrap_or_default(),
            resource_version: metadata("resourceVersion").unwrap_or_default(),
            object: value.to_string(),
        };
        // Read once on its own, so that an error can name the file.
        History::new(vec![row.clone()]).map_err(|source| ObjectsError::Object {
            path: self.path.to_owned(),
            document: self.number,
            source,
        })?;
        Ok(row)
    }

    fn field(self, at: &str, field: &str, expected: &'static str) -> ObjectsError {
        let field = format!("{at}{field}");
        let field = field.trim_end_matches('.');
        ObjectsError::Field {
            path: self.path.to_owned(),
            document: self.number,
            field: if field.is_empty() {
                "(whole document)".into()
            } else {
                field.into()
            },
            expected,
        }
    }
}

/// The namespace of an object that does not say: `default` for the namespaced kinds read here.
fn in_default(kind: &str) -> Option<String> {
    let namespaced = [
        "Pod",
        "Service",
        "EndpointSlice",
        "CiliumEndpoint",
        "StaticGatewayConfiguration",
        "Gateway",
        "HTTPRoute",
        "GRPCRoute",
        "ReferenceGrant",
    ];
    namespaced.contains(&kind).then(|| "default".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = include_str!("../../tests/fixtures/objects/list.json");

    fn check_error(file: &str, text: &str, expected: &str) {
        let error = read_text(Path::new(file), text).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }

    #[test]
    fn lists_give_their_items_with_their_own_times() {
        let rows = read_text(Path::new("list.json"), LIST).unwrap();
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.kind.as_str(),
                    row.namespace.as_deref(),
                    row.observed_at_us,
                )
            })
            .collect();
        let noon_us = 1_769_860_800_000_000;
        assert_eq!(
            found,
            [("Pod", Some("prod"), noon_us), ("Egress", None, ALWAYS_US)]
        );
        let typed = "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n";
        let rows = read_text(Path::new("pods.yaml"), typed).unwrap();
        assert_eq!(
            (rows[0].kind.as_str(), rows[0].namespace.as_deref()),
            ("Pod", Some("default"))
        );
    }

    #[test]
    fn documents_without_content_are_passed_over() {
        let text =
            "# a comment\n---\n\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n";
        assert_eq!(read_text(Path::new("a.yaml"), text).unwrap().len(), 1);
    }

    #[test]
    fn errors_name_file_document_and_field() {
        let first = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n";
        let policy =
            "apiVersion: cilium.io/v2\nkind: CiliumEgressGatewayPolicy\nmetadata: {name: p}\n";
        for (text, expected) in [
            (
                "kind: Pod\nmetadata: {name: a}\n",
                "field apiVersion: every object has one, e.g. v1",
            ),
            (
                "apiVersion: v1\nkind: Pod\n",
                "field metadata.name: every object has a name",
            ),
            ("- 1\n", "field (whole document): an object is a mapping"),
            (
                "apiVersion: v1\nkind: List\nitems:\n- {kind: Pod, apiVersion: v1}\n",
                "field items[0].metadata.name: every object has a name",
            ),
        ] {
            check_error(
                "a.yaml",
                &format!("{first}{text}"),
                &format!("a.yaml: document 2: {expected}"),
            );
        }
        let broken = format!("{policy}spec: {{destinationCIDRs: [10.0.0.0/8, 10.0.0.0/40]}}\n");
        check_error(
            "p.yaml",
            &broken,
            "p.yaml: document 1: CiliumEgressGatewayPolicy p: field spec.destinationCIDRs[1]: \
             \"10.0.0.0/40\" is not a CIDR: write it as 192.0.2.0/24",
        );
    }

    #[test]
    fn broken_syntax_names_its_document_in_one_line() {
        for (file, text) in [
            (
                "a.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nkind: [\n",
            ),
            (
                "a.json",
                "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\"}} {",
            ),
        ] {
            let error = read_text(Path::new(file), text)
                .expect_err(text)
                .to_string();
            assert!(
                error.starts_with(&format!("{file}: document 2: ")),
                "{error}"
            );
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn folders_are_read_in_order_and_an_empty_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let read = || read_folder(folder.path());
        assert!(matches!(read(), Err(ObjectsError::Empty { .. })));
        fs::write(folder.path().join("notes.txt"), "not an object").unwrap();
        fs::create_dir(folder.path().join("more")).unwrap();
        let namespace =
            |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
        fs::write(folder.path().join("more/b.yml"), namespace("b")).unwrap();
        fs::write(folder.path().join("a.yaml"), namespace("a")).unwrap();
        let names: Vec<_> = read().unwrap().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["a", "b"]);
        let gone = folder.path().join("gone");
        assert!(matches!(read_folder(&gone), Err(ObjectsError::Read { path, .. }) if path == gone));
    }
}
