//! `deploy/versions.yaml`: the one place where versions stand.

use std::sync::LazyLock;

use serde::Deserialize;

const FILE: &str = include_str!("../../../deploy/versions.yaml");

/// Every pinned version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// Kubernetes of AKS, and the schemas that manifests are checked against.
    pub kubernetes: String,
    /// Oldest versions of programs.
    pub tools: ToolVersions,
    /// Image of kind's nodes.
    pub kind_node_image: String,
    /// Antrea.
    pub antrea: String,
    /// Cilium.
    pub cilium: String,
    /// NGINX Gateway Fabric.
    pub nginx_gateway_fabric: String,
    /// MetalLB.
    pub metallb: String,
    /// Gateway API's definitions.
    pub gateway_api: GatewayApi,
    /// Terraform's providers.
    pub terraform_providers: Providers,
    /// Images of the scenarios.
    pub images: Images,
}

/// Oldest versions of programs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolVersions {
    /// kind.
    pub kind: String,
    /// docker's daemon.
    pub docker: String,
    /// Helm.
    pub helm: String,
    /// kubectl.
    pub kubectl: String,
    /// Terraform.
    pub terraform: String,
    /// Azure's client.
    pub az: String,
}

/// Gateway API's definitions, by implementation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayApi {
    /// For NGINX Gateway Fabric.
    pub nginx: String,
    /// For Cilium.
    pub cilium: String,
}

/// Terraform's providers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Providers {
    /// Azure.
    pub azurerm: String,
    /// Keys.
    pub tls: String,
}

/// Images of the scenarios.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Client and server of iperf3.
    pub iperf3: String,
    /// HTTP backend that says its own name.
    pub echo: String,
    /// k6.
    pub k6: String,
}

impl Versions {
    /// Those of this build.
    pub fn pinned() -> &'static Self {
        static PINNED: LazyLock<Versions> = LazyLock::new(|| {
            serde_saphyr::from_str(FILE)
                .unwrap_or_else(|error| panic!("deploy/versions.yaml: {error}"))
        });
        &PINNED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terraform_pins_the_same_providers() {
        let terraform = include_str!("../../../deploy/aks/versions.tf");
        let providers = &Versions::pinned().terraform_providers;
        for version in [&providers.azurerm, &providers.tls] {
            let line = format!("version = \"{version}\"");
            assert!(
                terraform.contains(&line),
                "deploy/aks/versions.tf lacks {line}"
            );
        }
    }

    #[test]
    fn nothing_is_pinned_to_what_moves() {
        let Images { iperf3, echo, k6 } = &Versions::pinned().images;
        for image in [iperf3, echo, k6, &Versions::pinned().kind_node_image] {
            assert!(
                !image.ends_with(":latest") && image.contains(':'),
                "{image}"
            );
        }
    }
}
