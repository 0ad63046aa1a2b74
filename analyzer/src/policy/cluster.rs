//! What is inside the cluster: destinations that no egress policy concerns.

use std::net::IpAddr;

use ipnet::IpNet;

use super::EngineOptions;
use crate::objects::{History, Holder};

/// Ranges inside the cluster while nothing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    inside: Vec<IpNet>,
    except: Vec<IpNet>,
}

impl Cluster {
    pub(super) fn at(history: &History, options: &EngineOptions, at_us: i64) -> Self {
        let mut inside = options.pod_cidrs.clone();
        inside.extend(&options.service_cidrs);
        for (_, version) in history.nodes.all_at(at_us) {
            inside.extend(&version.value.pod_cidrs);
        }
        for (_, version) in history.cilium_nodes.all_at(at_us) {
            inside.extend(&version.value.pod_cidrs);
        }
        for (_, version) in history.service_cidrs.all_at(at_us) {
            inside.extend(&version.value.ranges);
        }
        Self {
            inside: IpNet::aggregate(&inside),
            except: IpNet::aggregate(&options.except_cidrs),
        }
    }

    /// Whether the Antrea agent's configuration excludes a destination.
    pub(super) fn excepts(&self, destination: IpAddr) -> bool {
        self.except.iter().any(|range| range.contains(&destination))
    }

    /// Whether Antrea leaves a destination alone: pods, services, and nodes by the address that
    /// carries their tunnels.
    pub(super) fn holds_for_antrea(&self, history: &History, dst: IpAddr, at_us: i64) -> bool {
        self.holds(history, dst, at_us, |holder| {
            !matches!(
                holder,
                Holder::Node {
                    transport: false,
                    ..
                }
            )
        })
    }

    /// Whether a destination has an identity of the cluster: pods, services, and nodes by any of
    /// their addresses.
    pub(super) fn holds_for_cilium(&self, history: &History, dst: IpAddr, at_us: i64) -> bool {
        self.holds(history, dst, at_us, |_| true)
    }

    fn holds(
        &self,
        history: &History,
        destination: IpAddr,
        at_us: i64,
        counts: impl Fn(&Holder) -> bool,
    ) -> bool {
        let mut holdings = history.holdings(destination).iter();
        self.inside.iter().any(|range| range.contains(&destination))
            || holdings.any(|holding| holding.holds_at(at_us) && counts(&holding.holder))
    }
}
