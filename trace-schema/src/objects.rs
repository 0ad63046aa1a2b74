//! The `objects` table: every version of the Kubernetes objects that verdicts rest on.

/// What happened to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectEvent {
    /// It appeared, or was there when recording began.
    Added,
    /// A new version.
    Modified,
    /// It is gone; `object` is its last version.
    Deleted,
}

/// One row of `objects`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectRow {
    /// When the recorder saw this version, UTC microseconds.
    pub observed_at_us: i64,
    /// What happened.
    pub event: ObjectEvent,
    /// `v1`, `crd.antrea.io/v1beta1`, …
    pub api_version: String,
    /// `Pod`, `Egress`, …
    pub kind: String,
    /// Namespace; absent for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version, opaque.
    pub resource_version: String,
    /// The whole object as JSON text.
    pub object: String,
}
