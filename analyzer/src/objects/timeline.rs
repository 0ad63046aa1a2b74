//! Versions of objects in time: which one held at a moment.
//!
//! It knows nothing of what the objects mean. Versions of one object never overlap, and a version
//! that differs from the one before only in fields that weighbridge does not read is merged into
//! it, so that the start of a version is the time of a change that matters.

use std::collections::BTreeMap;

/// Start of a version that was there before anything is known.
pub const ALWAYS_US: i64 = i64::MIN;
/// End of a version that still holds.
pub const STILL_US: i64 = i64::MAX;

/// Names an object within its kind. Cluster-scoped objects have an empty namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// One version of an object, in force in `[from_us, until_us)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version<T> {
    /// First moment, UTC microseconds, or [`ALWAYS_US`].
    pub from_us: i64,
    /// First moment after it, UTC microseconds, or [`STILL_US`].
    pub until_us: i64,
    /// UID of the object; empty where the objects did not come from an API server.
    pub uid: String,
    /// What it says.
    pub value: T,
}

/// Every version of every object of a kind.
#[derive(Clone, Debug)]
pub struct Timeline<T> {
    versions: BTreeMap<ObjectName, Vec<Version<T>>>,
}

impl<T> Default for Timeline<T> {
    fn default() -> Self {
        Self {
            versions: BTreeMap::new(),
        }
    }
}

impl ObjectName {
    /// Names a cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self {
            namespace: String::new(),
            name: name.into(),
        }
    }

    /// Names an object of a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

impl<T> Version<T> {
    /// Whether the version is in force at `at_us`.
    pub fn holds_at(&self, at_us: i64) -> bool {
        self.from_us <= at_us && at_us < self.until_us
    }
}

impl<T: PartialEq> Timeline<T> {
    /// Adds a version; they come in order of time.
    pub(super) fn put(&mut self, name: ObjectName, from_us: i64, uid: String, value: T) {
        let versions = self.versions.entry(name).or_default();
        if let Some(last) = versions.last_mut() {
            if last.until_us >= from_us && last.uid == uid && last.value == value {
                last.until_us = STILL_US;
                return;
            }
            if last.until_us > from_us {
                last.until_us = from_us;
            }
            if last.until_us <= last.from_us {
                versions.pop();
            }
        }
        versions.push(Version {
            from_us,
            until_us: STILL_US,
            uid,
            value,
        });
    }

    /// Ends an object.
    pub(super) fn end(&mut self, name: &ObjectName, at_us: i64) {
        let Some(versions) = self.versions.get_mut(name) else {
            return;
        };
        let Some(last) = versions.last_mut() else {
            return;
        };
        if last.until_us > at_us {
            last.until_us = at_us;
        }
        if last.until_us <= last.from_us {
            versions.pop();
        }
    }
}

impl<T> Timeline<T> {
    /// The last version of an object, also one that has ended.
    pub(super) fn last(&self, name: &ObjectName) -> Option<&Version<T>> {
        self.versions.get(name)?.last()
    }

    /// The version of an object in force at a moment.
    pub fn at(&self, name: &ObjectName, at_us: i64) -> Option<&Version<T>> {
        let versions = self.versions.get(name)?;
        let after = versions.partition_point(|version| version.from_us <= at_us);
        versions[..after]
            .last()
            .filter(|version| version.holds_at(at_us))
    }

    /// All objects in force at a moment, by name.
    pub fn all_at(&self, at_us: i64) -> impl Iterator<Item = (&ObjectName, &Version<T>)> {
        self.versions
            .keys()
            .filter_map(move |name| Some((name, self.at(name, at_us)?)))
    }

    /// All versions, by name and time.
    pub fn all(&self) -> impl Iterator<Item = (&ObjectName, &Version<T>)> {
        self.versions
            .iter()
            .flat_map(|(name, versions)| versions.iter().map(move |version| (name, version)))
    }

    /// The versions of one object, by time, with its name as it is kept here.
    pub fn entry(&self, name: &ObjectName) -> Option<(&ObjectName, &[Version<T>])> {
        let (name, versions) = self.versions.get_key_value(name)?;
        Some((name, versions))
    }

    /// The versions of one object, by time.
    pub fn of(&self, name: &ObjectName) -> &[Version<T>] {
        self.versions.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether there never was an object of the kind.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }
}
