//! The `netfilter` datapath: marks, policy routing and iptables, as Antrea has it.
//!
//! On the node of a selected pod, the first packet of a connection sets its conntrack mark; the
//! mark sends every further packet into the tunnel to the gateway, whose source NAT gives it the
//! egress address. So a connection that began before the policy keeps the way it had. Other pods'
//! packets are masqueraded where they are.

use std::fmt::Write;
use std::process::Command;

use crate::cluster::Placement;
use crate::command::feed;
use crate::config::ServiceConfig;
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::topology::{CLUSTER_PODS, Dual, Family, Node, OUTSIDE, Pod, SERVICE};

/// Mark of a connection that leaves by another node's address.
pub(crate) const TO_GATEWAY: &str = "0x2";
/// Mark of a connection that gets the egress address here.
const AT_GATEWAY: &str = "0x1";

/// Loads the rules of a node, both families, replacing those that are there.
pub(crate) fn program(
    namespace: &Namespace,
    node: &Node,
    pods: &[Pod],
    placement: Option<&Placement>,
    random_ports: bool,
    service: Option<&ServiceConfig>,
) -> Result<(), LabError> {
    for family in [Family::V4, Family::V6] {
        let placement = placement.filter(|placement| placement.family == family);
        let rules = Rules {
            family,
            node,
            pods,
            placement,
            random_ports,
        };
        restore(
            namespace,
            family,
            &format!("{}{}", rules.mangle(), rules.nat(service)),
        )?;
    }
    Ok(())
}

/// Loads only a service's translation, for the datapath that needs netfilter for nothing else.
pub(crate) fn program_service(
    namespace: &Namespace,
    service: &ServiceConfig,
) -> Result<(), LabError> {
    for family in [Family::V4, Family::V6] {
        let mut rules = String::from("*nat\n:PREROUTING ACCEPT\n");
        service_rules(&mut rules, family, service);
        rules.push_str("COMMIT\n");
        restore(namespace, family, &rules)?;
    }
    Ok(())
}

struct Rules<'a> {
    family: Family,
    node: &'a Node,
    pods: &'a [Pod],
    placement: Option<&'a Placement>,
    random_ports: bool,
}

impl Rules<'_> {
    fn mangle(&self) -> String {
        // As kube-proxy does: what belongs to no connection that is known (the last FIN of one that came
        // from a gateway that died) is not translated, and would leave with the pod's address.
        let mut rules = String::from(
            "*mangle\n:PREROUTING ACCEPT\n:FORWARD ACCEPT\n\
             -A FORWARD -m conntrack --ctstate INVALID -j DROP\n",
        );
        let Some(placement) = self.placement else {
            rules.push_str("COMMIT\n");
            return rules;
        };
        let here = placement.gateway == self.node.name;
        let pods_everywhere = self.cluster_pods();
        for pod in self.pods.iter().filter(|pod| pod.config.selected) {
            let source = pod.address.of(self.family);
            let local = pod.node_index == self.node.index;
            if here {
                let _ = writeln!(
                    rules,
                    "-A PREROUTING -s {source} ! -d {pods_everywhere} -j MARK --set-mark {AT_GATEWAY}"
                );
            } else if local {
                let _ = writeln!(
                    rules,
                    "-A PREROUTING -s {source} ! -d {pods_everywhere} -m conntrack --ctstate NEW \
                     -j CONNMARK --set-mark {TO_GATEWAY}\n\
                     -A PREROUTING -s {source} -j CONNMARK --restore-mark"
                );
            }
        }
        rules.push_str("COMMIT\n");
        rules
    }

    fn nat(&self, service: Option<&ServiceConfig>) -> String {
        let mut rules = String::from("*nat\n:PREROUTING ACCEPT\n:POSTROUTING ACCEPT\n");
        if let Some(service) = service {
            service_rules(&mut rules, self.family, service);
        }
        let here = self
            .placement
            .filter(|placement| placement.gateway == self.node.name);
        if let Some(placement) = here {
            let random = if self.random_ports {
                " --random-fully"
            } else {
                ""
            };
            let target = match placement.snat {
                Some(address) => format!("SNAT --to-source {address}{random}"),
                None => "ACCEPT".to_owned(),
            };
            let _ = writeln!(
                rules,
                "-A POSTROUTING -o eth0 -m mark --mark {AT_GATEWAY} -j {target}"
            );
        }
        let (own_v4, own_v6) = self.node.pod_networks();
        let own = match self.family {
            Family::V4 => own_v4,
            Family::V6 => own_v6,
        };
        let random = if self.random_ports {
            " --random-fully"
        } else {
            ""
        };
        let _ = writeln!(
            rules,
            "-A POSTROUTING -s {own} ! -d {} -o eth0 -j MASQUERADE{random}",
            self.cluster_pods()
        );
        rules.push_str("COMMIT\n");
        rules
    }

    fn cluster_pods(&self) -> &'static str {
        match self.family {
            Family::V4 => CLUSTER_PODS.0,
            Family::V6 => CLUSTER_PODS.1,
        }
    }
}

fn service_rules(rules: &mut String, family: Family, service: &ServiceConfig) {
    let target = bracketed(&OUTSIDE, family);
    for protocol in ["tcp", "udp"] {
        let _ = writeln!(
            rules,
            "-A PREROUTING -d {} -p {protocol} --dport {} -j DNAT --to-destination {target}:{}",
            SERVICE.of(family),
            service.port,
            service.target_port
        );
    }
}

fn bracketed(address: &Dual, family: Family) -> String {
    match family {
        Family::V4 => address.v4.to_string(),
        Family::V6 => format!("[{}]", address.v6),
    }
}

fn restore(namespace: &Namespace, family: Family, rules: &str) -> Result<(), LabError> {
    let mut command = Command::new(match family {
        Family::V4 => "iptables-restore",
        Family::V6 => "ip6tables-restore",
    });
    namespace.place(&mut command, None)?;
    feed(command, rules).map(|_| ())
}
