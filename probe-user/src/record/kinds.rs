//! Which kinds are recorded: those that verdicts rest on, and no other. Secrets and ConfigMaps are
//! not among them, and nothing here can name them.

use kube::core::ApiResource;

/// A kind that is recorded.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Its API group; empty for the core.
    pub group: &'static str,
    /// Versions of it that the analyzer reads, the preferred one first.
    pub versions: &'static [&'static str],
    /// Its name.
    pub kind: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
}

const CORE: &[&str] = &["v1"];
const STABLE: &[&str] = &["v1", "v1beta1"];
const ANTREA: &[&str] = &["v1beta1", "v1alpha2"];
const CILIUM: &[&str] = &["v2"];

/// Every kind that is recorded, where the cluster has it.
pub static KINDS: [Kind; 16] = [
    kind("", CORE, "Pod", "pods", true),
    kind("", CORE, "Node", "nodes", false),
    kind("", CORE, "Namespace", "namespaces", false),
    kind("", CORE, "Service", "services", true),
    kind(
        "discovery.k8s.io",
        STABLE,
        "EndpointSlice",
        "endpointslices",
        true,
    ),
    kind(
        "networking.k8s.io",
        STABLE,
        "ServiceCIDR",
        "servicecidrs",
        false,
    ),
    kind("crd.antrea.io", ANTREA, "Egress", "egresses", false),
    kind(
        "crd.antrea.io",
        ANTREA,
        "ExternalIPPool",
        "externalippools",
        false,
    ),
    kind(
        "cilium.io",
        CILIUM,
        "CiliumEgressGatewayPolicy",
        "ciliumegressgatewaypolicies",
        false,
    ),
    kind("cilium.io", CILIUM, "CiliumNode", "ciliumnodes", false),
    kind(
        "cilium.io",
        CILIUM,
        "CiliumEndpoint",
        "ciliumendpoints",
        true,
    ),
    kind(GATEWAY, STABLE, "GatewayClass", "gatewayclasses", false),
    kind(GATEWAY, STABLE, "Gateway", "gateways", true),
    kind(GATEWAY, STABLE, "HTTPRoute", "httproutes", true),
    kind(GATEWAY, STABLE, "GRPCRoute", "grpcroutes", true),
    kind(GATEWAY, STABLE, "ReferenceGrant", "referencegrants", true),
];

const GATEWAY: &str = "gateway.networking.k8s.io";

const fn kind(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
    is_namespaced: bool,
) -> Kind {
    Kind {
        group,
        versions,
        kind,
        plural,
        is_namespaced,
    }
}

impl Kind {
    /// The kind in one of its versions.
    pub fn resource(&self, version: &str) -> ApiResource {
        let api_version = match self.group {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        };
        ApiResource {
            group: self.group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// Whether every cluster has it.
    pub fn is_core(&self) -> bool {
        self.group.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_that_holds_secrets_is_recorded() {
        for kind in &KINDS {
            assert!(!["Secret", "ConfigMap"].contains(&kind.kind), "{kind:?}");
            assert_eq!(kind.plural, kind.plural.to_lowercase());
            assert!(!kind.versions.is_empty());
        }
    }
}
