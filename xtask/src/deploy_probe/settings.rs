//! What is deployed: every choice with its default filled in.
//!
//! Refuses what the cluster would only answer late: a namespace that is not a DNS label, an address
//! of a registry that is missing where nodes must pull, credentials inside a store's address.

use std::time::Duration;

use anyhow::bail;

/// Namespace unless another is named.
pub const NAMESPACE: &str = "weighbridge";
/// Name of the image without registry and tag.
pub const IMAGE_NAME: &str = "weighbridge-probe";
/// Priority class that comes with the manifests.
pub const PRIORITY_CLASS: &str = "weighbridge-probe";
/// The container that `deploy/aks` makes in the storage account.
pub const AKS_STORE: &str = "az://weighbridge";
/// Registry in the rendered `aks` overlay, for `kustomize edit set image` to replace.
pub const PLACEHOLDER_REGISTRY: &str = "registry.example";
const INTERVAL: Duration = Duration::from_secs(1);

/// The kind of cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// A kind cluster on this machine.
    Kind,
    /// Azure Kubernetes Service.
    Aks,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Kind, Self::Aks];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Aks => "aks",
        }
    }
}

/// What the manifests say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of everything that has one.
    pub namespace: String,
    /// Image with registry and tag.
    pub image: String,
    /// Whether nodes ask the registry each time, since a tag may have been pushed again.
    pub always_pull: bool,
    /// Hash of the binary that was built for this deployment, so that pods start anew with it.
    pub binary: Option<String>,
    /// Object store that files are shipped to; absent: they stay on each node.
    pub store: Option<String>,
    /// Length of the probes' intervals.
    pub interval: Duration,
    /// A priority class that is there already; absent: ours is made.
    pub priority_class: Option<String>,
    /// Whether processors are sampled, which needs SYSLOG.
    pub profile: bool,
    /// Whether pods take part in Azure's workload identity.
    pub workload_identity: bool,
    /// The managed identity that the service accounts stand for.
    pub azure_client_id: Option<String>,
    /// The storage account of an `az://` store.
    pub azure_account: Option<String>,
}

impl Settings {
    /// What the kustomize base holds: nothing of a particular cluster.
    pub fn base() -> Self {
        Self {
            namespace: NAMESPACE.to_owned(),
            image: format!("{IMAGE_NAME}:{}", env!("CARGO_PKG_VERSION")),
            always_pull: false,
            binary: None,
            store: None,
            interval: INTERVAL,
            priority_class: None,
            profile: false,
            workload_identity: false,
            azure_client_id: None,
            azure_account: None,
        }
    }

    /// What a target has unless told otherwise.
    pub fn of(target: Target) -> Self {
        let base = Self::base();
        match target {
            // A name with a registry that no node asks: only a loaded image answers to it, and
            // docker, podman and buildah agree on how to call it.
            Target::Kind => Self {
                image: format!("localhost/{}", base.image),
                ..base
            },
            Target::Aks => Self {
                image: format!("{PLACEHOLDER_REGISTRY}/{}", base.image),
                always_pull: true,
                store: Some(AKS_STORE.to_owned()),
                workload_identity: true,
                ..base
            },
        }
    }

    /// Refuses what would fail later and less clearly.
    pub fn validated(self, target: Target) -> anyhow::Result<Self> {
        require_label("--namespace", &self.namespace)?;
        if ["default", "kube-system", "kube-public", "kube-node-lease"]
            .contains(&self.namespace.as_str())
        {
            bail!(
                "--namespace {}: undeploy-probe deletes the namespace with all that is in it; name one of its own",
                self.namespace
            );
        }
        if target == Target::Aks && !self.image.split_once('/').is_some_and(is_registry) {
            bail!(
                "--image {}: nodes on AKS pull from a registry; name it, as in NAME.azurecr.io/{IMAGE_NAME}:TAG",
                self.image
            );
        }
        if self.interval < Duration::from_millis(100) {
            bail!(
                "--interval {}: at least 100ms",
                humantime::format_duration(self.interval)
            );
        }
        if let Some(store) = &self.store {
            require_plain_address(store)?;
        }
        Ok(self)
    }
}

fn is_registry((host, _): (&str, &str)) -> bool {
    host.contains('.') || host.contains(':')
}

fn require_label(flag: &str, name: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: char| c != '-';
    if name.is_empty()
        || name.len() > 63
        || !name.chars().all(plain)
        || !name.starts_with(ends)
        || !name.ends_with(ends)
    {
        bail!(
            "{flag} {name}: lower-case letters, digits and hyphens, at most 63, no hyphen at an end"
        );
    }
    Ok(())
}

/// An address may be read by anyone who can list pods, so nothing secret may stand in it; and what is
/// refused is never repeated, since it may hold a secret.
fn require_plain_address(store: &str) -> anyhow::Result<()> {
    if store.contains(['@', '?', '#']) {
        bail!(
            "--store: credentials do not belong into the address; put them into the secret weighbridge-store, or use workload identity"
        );
    }
    match store.split_once("://") {
        Some(("az" | "s3" | "gs", rest)) if !rest.starts_with('/') && !rest.is_empty() => Ok(()),
        Some(("az" | "s3" | "gs", _)) => bail!("--store: names no container or bucket"),
        Some(("file", _)) => bail!(
            "--store: file:// would lie in each pod; without --store files stay on their nodes, where `cargo xtask collect` finds them"
        ),
        _ => bail!("--store: an address as in az://CONTAINER, s3://BUCKET/PREFIX or gs://BUCKET"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: Target, change: impl Fn(&mut Settings), names: Option<&str>) {
        let mut settings = Settings::of(target);
        change(&mut settings);
        match (settings.validated(target), names) {
            (Ok(_), None) => {}
            (Err(error), Some(names)) => {
                assert!(error.to_string().contains(names), "{error}");
            }
            (other, names) => panic!("{other:?}, not {names:?}"),
        }
    }

    #[test]
    fn what_would_fail_on_the_cluster_is_refused_before() {
        check(Target::Kind, |_| {}, None);
        check(Target::Aks, |_| {}, None);
        check(
            Target::Aks,
            |s| s.image = "weighbridge-probe:1".to_owned(),
            Some("--image"),
        );
        check(
            Target::Aks,
            |s| s.image = "team/weighbridge-probe:1".to_owned(),
            Some("azurecr.io"),
        );
        check(
            Target::Kind,
            |s| s.namespace = "Weigh".to_owned(),
            Some("--namespace"),
        );
        check(
            Target::Kind,
            |s| s.namespace = "default".to_owned(),
            Some("of its own"),
        );
        check(
            Target::Kind,
            |s| s.interval = Duration::ZERO,
            Some("--interval"),
        );
    }

    #[test]
    fn a_store_is_an_address_without_secrets() {
        for good in ["az://data/run", "s3://bucket", "gs://b/p"] {
            check(Target::Kind, |s| s.store = Some(good.to_owned()), None);
        }
        for bad in [
            "data",
            "http://x/y",
            "file:///data",
            "az://",
            "s3://key:secret@bucket",
            "az://data?sig=abc",
        ] {
            check(
                Target::Kind,
                |s| s.store = Some(bad.to_owned()),
                Some("--store"),
            );
        }
        for leaky in [
            "s3://key:secret@bucket",
            "https://account.blob.example/data?sig=secret",
            "secret",
        ] {
            let leaky = Settings {
                store: Some(leaky.to_owned()),
                ..Settings::of(Target::Kind)
            };
            let said = leaky.validated(Target::Kind).unwrap_err().to_string();
            assert!(
                !said.contains("secret@") && !said.contains("sig="),
                "{said}"
            );
            assert!(!said.contains("--store secret"), "{said}");
        }
    }
}
