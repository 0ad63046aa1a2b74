//! Which versions are known of which objects, and which rows a change makes.
//!
//! Pure: objects come in as JSON with their time, rows come out. What is gone after a list that was
//! made anew (the API server was away, or forgot what it had said) was deleted meanwhile, and is
//! recorded as such.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use trace_schema::objects::{ObjectEvent, ObjectRow};

use super::kinds::Kind;
use super::reduce::{identity, reduce};

/// What one list and watch is of: a kind, everywhere or in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The kind.
    pub kind: &'static Kind,
    /// The version that is read, with its group, as in `crd.antrea.io/v1beta1`.
    pub api_version: String,
    /// The only namespace; absent: all.
    pub namespace: Option<String>,
}

/// Group, kind, namespace, name.
type Key = (String, String, Option<String>, String);

/// The last version of an object.
#[derive(Clone, Debug)]
struct Known {
    row: ObjectRow,
    /// What must change for a new version; absent where an earlier run of the recorder wrote it.
    identity: Option<String>,
}

/// The objects as they were last seen.
#[derive(Debug, Default)]
pub struct Versions {
    known: BTreeMap<Key, Known>,
    listed: HashMap<Scope, BTreeSet<Key>>,
}

impl Versions {
    /// Begins with what an earlier run saw last: what is gone since is then recorded as deleted.
    pub fn of_earlier_run(rows: Vec<ObjectRow>) -> Self {
        let known = rows.into_iter().map(|row| {
            let group = group_of(&row.api_version);
            let key = (
                group,
                row.kind.clone(),
                row.namespace.clone(),
                row.name.clone(),
            );
            let identity = None;
            (key, Known { row, identity })
        });
        Self {
            known: known.collect(),
            listed: HashMap::new(),
        }
    }

    /// The last version of every object that is there.
    pub fn latest(&self) -> Vec<ObjectRow> {
        self.known.values().map(|known| known.row.clone()).collect()
    }

    /// Number of objects that are there.
    pub fn objects(&self) -> u64 {
        self.known.len() as u64
    }

    /// A list begins.
    pub fn begin_list(&mut self, scope: &Scope) {
        self.listed.insert(scope.clone(), BTreeSet::new());
    }

    /// An object of the list that was begun.
    pub fn list(&mut self, scope: &Scope, object: Value, at_us: i64) -> Vec<ObjectRow> {
        if let Some(key) = key(scope, &object)
            && let Some(listed) = self.listed.get_mut(scope)
        {
            listed.insert(key);
        }
        self.apply(scope, object, at_us)
    }

    /// The list is complete: what was known and is not in it is gone.
    pub fn end_list(&mut self, scope: &Scope, at_us: i64) -> Vec<ObjectRow> {
        let Some(listed) = self.listed.remove(scope) else {
            return Vec::new();
        };
        let gone = self.known.keys().filter(|key| {
            let (group, kind, namespace, _) = key;
            (group.as_str(), kind.as_str()) == (scope.kind.group, scope.kind.kind)
                && (scope.namespace.is_none() || scope.namespace == *namespace)
                && !listed.contains(*key)
        });
        let gone: Vec<Key> = gone.cloned().collect();
        gone.iter().filter_map(|key| self.end(key, at_us)).collect()
    }

    /// A new object, or a version of one; nothing where nothing that matters is new.
    pub fn apply(&mut self, scope: &Scope, object: Value, at_us: i64) -> Vec<ObjectRow> {
        let Some(key) = key(scope, &object) else {
            return Vec::new();
        };
        let object = completed(scope, object);
        let identity = Some(identity(&object));
        let mut rows = Vec::new();
        let mut event = ObjectEvent::Added;
        if let Some(known) = self.known.get(&key) {
            let is_same_object = known.row.uid == text(&object, "uid");
            if is_same_object && known.identity == identity {
                return rows;
            }
            if !is_same_object {
                // Deleted and made again while nobody saw it.
                rows.extend(self.end(&key, at_us));
            } else if known.identity.is_some() {
                event = ObjectEvent::Modified;
            }
        }
        let row = row(&key, event, &object, at_us);
        rows.push(row.clone());
        self.known.insert(key, Known { row, identity });
        rows
    }

    /// An object is gone.
    pub fn delete(&mut self, scope: &Scope, object: Value, at_us: i64) -> Vec<ObjectRow> {
        let Some(key) = key(scope, &object) else {
            return Vec::new();
        };
        let object = completed(scope, object);
        let is_of_known = |known: &Known| known.row.uid == text(&object, "uid");
        if !self.known.get(&key).is_some_and(is_of_known) {
            return Vec::new();
        }
        self.known.remove(&key);
        vec![row(&key, ObjectEvent::Deleted, &object, at_us)]
    }

    fn end(&mut self, key: &Key, at_us: i64) -> Option<ObjectRow> {
        let last = self.known.remove(key)?.row;
        Some(ObjectRow {
            observed_at_us: at_us,
            event: ObjectEvent::Deleted,
            ..last
        })
    }
}

/// An object as it is kept; items of a list do not say what they are.
fn completed(scope: &Scope, mut object: Value) -> Value {
    object["apiVersion"] = Value::from(scope.api_version.as_str());
    object["kind"] = Value::from(scope.kind.kind);
    reduce(&mut object);
    object
}

fn key(scope: &Scope, object: &Value) -> Option<Key> {
    let name = text(object, "name");
    let namespace = Some(text(object, "namespace")).filter(|namespace| !namespace.is_empty());
    let kind = scope.kind;
    (!name.is_empty()).then(|| (kind.group.to_owned(), kind.kind.to_owned(), namespace, name))
}

fn row(key: &Key, event: ObjectEvent, object: &Value, at_us: i64) -> ObjectRow {
    let (_, kind, namespace, name) = key.clone();
    ObjectRow {
        observed_at_us: at_us,
        event,
        api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
        kind,
        namespace,
        name,
        uid: text(object, "uid"),
        resource_version: text(object, "resourceVersion"),
        object: object.to_string(),
    }
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn group_of(api_version: &str) -> String {
    let group = api_version.rsplit_once('/').map(|(group, _)| group);
    group.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kinds::KINDS;
    use super::*;

    fn scope(kind: &str) -> Scope {
        let kind = KINDS.iter().find(|found| found.kind == kind).unwrap();
        Scope {
            kind,
            api_version: kind.resource(kind.versions[0]).api_version,
            namespace: None,
        }
    }

    fn pod(name: &str, uid: &str, phase: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "default", "uid": uid, "resourceVersion": "1"},
            "status": {"phase": phase},
        })
    }

    fn shown(rows: &[ObjectRow]) -> Vec<(ObjectEvent, &str, &str)> {
        let shown = rows
            .iter()
            .map(|row| (row.event, row.name.as_str(), row.uid.as_str()));
        shown.collect()
    }

    #[test]
    fn every_version_that_differs_is_written_once() {
        let (mut versions, scope) = (Versions::default(), scope("Pod"));
        versions.begin_list(&scope);
        let first = versions.list(&scope, pod("a", "1", "Pending"), 10);
        assert_eq!(shown(&first), [(ObjectEvent::Added, "a", "1")]);
        let row = &first[0];
        assert_eq!((row.api_version.as_str(), row.kind.as_str()), ("v1", "Pod"));
        assert_eq!(row.namespace.as_deref(), Some("default"));
        assert!(row.object.contains("\"kind\":\"Pod\""));
        assert!(versions.end_list(&scope, 11).is_empty());
        assert!(
            versions
                .apply(&scope, pod("a", "1", "Pending"), 12)
                .is_empty()
        );
        let second = versions.apply(&scope, pod("a", "1", "Running"), 13);
        assert_eq!(shown(&second), [(ObjectEvent::Modified, "a", "1")]);
        let last = versions.delete(&scope, pod("a", "1", "Failed"), 14);
        assert_eq!(shown(&last), [(ObjectEvent::Deleted, "a", "1")]);
        assert_eq!((last[0].observed_at_us, versions.objects()), (14, 0));
        assert!(
            versions
                .delete(&scope, pod("a", "1", "Failed"), 15)
                .is_empty()
        );
    }

    #[test]
    fn what_a_new_list_lacks_was_deleted() {
        let (mut versions, pods) = (Versions::default(), scope("Pod"));
        for name in ["a", "b"] {
            versions.apply(&pods, pod(name, name, "Running"), 1);
        }
        versions.apply(&scope("Service"), pod("s", "s", ""), 1);
        versions.begin_list(&pods);
        let made_again = versions.list(&pods, pod("b", "b2", "Running"), 5);
        assert_eq!(
            shown(&made_again),
            [
                (ObjectEvent::Deleted, "b", "b"),
                (ObjectEvent::Added, "b", "b2")
            ]
        );
        let gone = versions.end_list(&pods, 6);
        assert_eq!(shown(&gone), [(ObjectEvent::Deleted, "a", "a")]);
        assert_eq!(versions.objects(), 2);
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_of_others() {
        let (mut versions, all) = (Versions::default(), scope("Pod"));
        versions.apply(&all, pod("a", "1", "Running"), 1);
        let other = Scope {
            namespace: Some("other".to_owned()),
            ..all
        };
        versions.begin_list(&other);
        assert!(versions.end_list(&other, 2).is_empty());
    }

    #[test]
    fn an_earlier_run_s_objects_are_written_again_or_end() {
        let (mut first, scope) = (Versions::default(), scope("Pod"));
        for name in ["a", "b"] {
            first.apply(&scope, pod(name, name, "Running"), 1);
        }
        let mut next = Versions::of_earlier_run(first.latest());
        next.begin_list(&scope);
        let there = next.list(&scope, pod("a", "a", "Running"), 5);
        assert_eq!(shown(&there), [(ObjectEvent::Added, "a", "a")]);
        assert_eq!(
            shown(&next.end_list(&scope, 6)),
            [(ObjectEvent::Deleted, "b", "b")]
        );
    }
}
