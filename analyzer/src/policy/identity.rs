//! The labels of a Cilium endpoint's identity, which is all that Cilium's selectors see.
//!
//! A CiliumEndpoint states them. Where there is none yet, they are derived from the pod and its
//! namespace with Cilium's default label filter; an agent with another filter needs its endpoints
//! recorded.

use std::borrow::Cow;

use super::subject::Subject;
use crate::objects::{LabelSelector, Labels};

/// Prefix under which an identity carries its namespace's labels.
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
/// The pod's namespace.
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The pod's service account.
const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// Pod labels that the default filter keeps although a longer list leaves their like out.
const KEPT: [&str; 1] = ["app.kubernetes.io"];
/// Beginnings of pod labels that the default filter leaves out.
const LEFT_OUT: [&str; 11] = [
    "io.kubernetes",
    "kubernetes.io",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "k8s.io",
    "pod-template-generation",
    "pod-template-hash",
    "controller-revision-hash",
    "annotation",
    "etcd_node",
];
/// What the default filter leaves out wherever it stands in a label.
const LEFT_OUT_ANYWHERE: &str = "beta.kubernetes.io";

/// The identity labels of a pod's endpoint.
pub(super) fn labels<'a>(subject: &Subject<'a>) -> Cow<'a, Labels> {
    match subject
        .endpoint
        .and_then(|endpoint| endpoint.value.identity_labels.as_ref())
    {
        Some(labels) => Cow::Borrowed(labels),
        None => Cow::Owned(derived(subject)),
    }
}

/// Whether a selector entry's pod and namespace selectors both take the identity.
pub(super) fn selects(
    namespace: Option<&LabelSelector>,
    pod: Option<&LabelSelector>,
    identity: &Labels,
) -> bool {
    let of_namespace = |key: &str| identity.get(&format!("{NAMESPACE_LABELS}{key}"));
    namespace
        .is_none_or(|selector| selector.matches_by(|key| of_namespace(key).map(String::as_str)))
        && pod.is_none_or(|selector| selector.matches(identity))
}

fn derived(subject: &Subject<'_>) -> Labels {
    let own = subject.pod.labels.iter().filter(|(key, _)| belongs(key));
    let mut labels: Labels = own
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let namespace = &subject.name.namespace;
    labels.insert(POD_NAMESPACE.into(), namespace.clone());
    if let Some(account) = &subject.pod.service_account {
        labels.insert(SERVICE_ACCOUNT.into(), account.clone());
    }
    match subject.namespace_labels {
        Some(of_namespace) => labels.extend(
            of_namespace
                .iter()
                .map(|(key, value)| (format!("{NAMESPACE_LABELS}{key}"), value.clone())),
        ),
        None => {
            let key = format!("{NAMESPACE_LABELS}kubernetes.io/metadata.name");
            labels.insert(key, namespace.clone());
        }
    }
    labels
}

/// Whether the default filter makes a pod label part of the identity.
pub(super) fn belongs(key: &str) -> bool {
    KEPT.iter().any(|kept| key.starts_with(kept))
        || !(LEFT_OUT.iter().any(|out| key.starts_with(out)) || key.contains(LEFT_OUT_ANYWHERE))
}
