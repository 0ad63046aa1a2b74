//! Whose a charge is: the parts of the cost, and the rules that tell them apart.
//!
//! A rule looks at the pod that the objects name (its labels, then its namespace) and, where no
//! object describes it, at the command as the kernel keeps it, fifteen bytes. The first rule that
//! fits decides. Nothing is guessed from a pod's name, which is its owner's to choose.

use serde::Serialize;
use trace_schema::cpu::{CpuRow, CpuScope};

use crate::objects::Labels;

/// The label by which a data plane's pod names its Gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// The namespace of what a cluster runs for itself.
const SYSTEM_NAMESPACE: &str = "kube-system";
/// The probe's command, as far as the kernel keeps it.
const PROBE: &str = "weighbridge-pro";

/// A part of the cost. Together they are all that was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The kernel receives: softirq NET_RX and threads of NAPI.
    KernelReceive,
    /// The kernel sends: softirq NET_TX, which frees what was sent and restarts queues.
    KernelTransmit,
    /// Processes of the CNI and of its service proxy.
    Cni,
    /// Gateways' data planes.
    Gateway,
    /// All other pods: clients, backends.
    Application,
    /// The probe's user space.
    Probe,
    /// Pods that the cluster runs for itself: DNS, API server, controllers.
    ClusterServices,
    /// Services of the nodes: kubelet, container runtime, init.
    NodeServices,
    /// What none of the rules knows, threads of the kernel among it.
    Other,
    /// Tasks outside the nodes, where nodes share a machine with others.
    Outside,
}

/// What the objects say of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodFacts {
    /// `namespace/name`.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Labels.
    pub labels: Labels,
}

/// What the objects say of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ClusterFacts {
    /// Whether Cilium's Envoy is a Gateway's data plane here, not only its L7 policy proxy.
    pub cilium_envoy_is_gateway: bool,
}

/// What the kernel tells of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task<'a> {
    /// Its command, as the kernel keeps it.
    pub command: &'a str,
    /// The UID of its pod.
    pub pod_uid: Option<&'a str>,
    /// Its cgroup.
    pub cgroup_path: Option<&'a str>,
}

/// A label and its value; a pod that has it is of the part.
type LabelRule = (&'static str, &'static str, Part);
/// The beginning of a command.
type CommandRule = (&'static str, Part);

const LABELS: &[LabelRule] = &[
    ("app", "antrea", Part::Cni),
    ("app", "flannel", Part::Cni),
    ("app", "kindnet", Part::Cni),
    ("app", "ovnkube-node", Part::Cni),
    ("app", "ovnkube-master", Part::Cni),
    ("app.kubernetes.io/name", "cilium-agent", Part::Cni),
    ("app.kubernetes.io/name", "cilium-operator", Part::Cni),
    ("app.kubernetes.io/name", "hubble-relay", Part::Cni),
    ("app.kubernetes.io/name", "weighbridge-probe", Part::Probe),
    ("k8s-app", "aws-node", Part::Cni),
    ("k8s-app", "azure-cns", Part::Cni),
    ("k8s-app", "calico-kube-controllers", Part::Cni),
    ("k8s-app", "calico-node", Part::Cni),
    ("k8s-app", "calico-typha", Part::Cni),
    ("k8s-app", "cilium", Part::Cni),
    ("k8s-app", "flannel", Part::Cni),
    ("k8s-app", "kindnet", Part::Cni),
    ("k8s-app", "kube-proxy", Part::Cni),
    // Controllers of Gateways are no data plane.
    (
        "app.kubernetes.io/name",
        "nginx-gateway-fabric",
        Part::ClusterServices,
    ),
    (
        "app.kubernetes.io/name",
        "nginx-gateway",
        Part::ClusterServices,
    ),
];

const COMMANDS: &[CommandRule] = &[
    (PROBE, Part::Probe),
    ("antrea-", Part::Cni),
    ("aws-k8s-agent", Part::Cni),
    ("azure-cn", Part::Cni),
    ("calico-", Part::Cni),
    ("cilium-", Part::Cni),
    ("flanneld", Part::Cni),
    ("hubble", Part::Cni),
    ("kindnetd", Part::Cni),
    ("kube-proxy", Part::Cni),
    ("ovn", Part::Cni),
    ("ovs-vswitchd", Part::Cni),
    ("ovsdb-server", Part::Cni),
    ("napi/", Part::KernelReceive),
    ("coredns", Part::ClusterServices),
    ("etcd", Part::ClusterServices),
    ("kube-apiserver", Part::ClusterServices),
    ("kube-controller", Part::ClusterServices),
    ("kube-scheduler", Part::ClusterServices),
    ("containerd", Part::NodeServices),
    ("conmon", Part::NodeServices),
    ("crio", Part::NodeServices),
    ("dbus-", Part::NodeServices),
    ("dockerd", Part::NodeServices),
    ("kubelet", Part::NodeServices),
    ("runc", Part::NodeServices),
    ("systemd", Part::NodeServices),
];

impl Part {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 10] = [
        Self::KernelReceive,
        Self::KernelTransmit,
        Self::Cni,
        Self::Gateway,
        Self::Application,
        Self::Probe,
        Self::ClusterServices,
        Self::NodeServices,
        Self::Other,
        Self::Outside,
    ];

    /// The words that tables use.
    pub fn title(self) -> &'static str {
        match self {
            Self::KernelReceive => "kernel receive",
            Self::KernelTransmit => "kernel transmit",
            Self::Cni => "CNI processes",
            Self::Gateway => "gateway proxies",
            Self::Application => "applications",
            Self::Probe => "probe",
            Self::ClusterServices => "cluster services",
            Self::NodeServices => "node services",
            Self::Other => "other",
            Self::Outside => "outside",
        }
    }
}

/// The part that a row of the processors' time belongs to; none for idle time and for the probe's
/// programs, whose time lies within that of others.
pub(super) fn part_of(row: &CpuRow, pod: Option<&PodFacts>, cluster: ClusterFacts) -> Option<Part> {
    let command = row.command.as_deref().unwrap_or_default();
    match row.scope {
        CpuScope::Idle | CpuScope::Program => None,
        CpuScope::Outside => Some(Part::Outside),
        CpuScope::Softirq => Some(match row.vector.as_deref() {
            Some("net_rx") => Part::KernelReceive,
            Some("net_tx") => Part::KernelTransmit,
            _ => Part::Other,
        }),
        CpuScope::Cgroup => {
            let task = Task {
                command,
                pod_uid: row.pod_uid.as_deref(),
                cgroup_path: row.cgroup_path.as_deref(),
            };
            Some(part_of_task(&task, pod, cluster))
        }
    }
}

/// The part that a task belongs to.
pub(super) fn part_of_task(task: &Task<'_>, pod: Option<&PodFacts>, cluster: ClusterFacts) -> Part {
    let command = task.command;
    match (pod, task.pod_uid) {
        (Some(pod), _) => part_of_pod(pod, command, cluster),
        (None, Some(_)) => part_of_command(command, cluster).unwrap_or(Part::Application),
        (None, None) => part_of_service(command, task.cgroup_path, cluster),
    }
}

/// The part of a pod as a whole: of its memory, and of charges whose command decides nothing.
pub(super) fn part_of_pod(pod: &PodFacts, command: &str, cluster: ClusterFacts) -> Part {
    if pod.labels.contains_key(GATEWAY_NAME) {
        return Part::Gateway;
    }
    let has = |key: &str, value: &str| pod.labels.get(key).is_some_and(|own| own == value);
    if has("k8s-app", "cilium-envoy") {
        return cilium_envoy(cluster);
    }
    let by_label = LABELS.iter().find(|(key, value, _)| has(key, value));
    if let Some((_, _, part)) = by_label {
        // Before Envoy had a DaemonSet of its own, it ran as a child of the agent.
        let is_envoy = *part == Part::Cni && command.starts_with("cilium-envoy");
        return if is_envoy {
            cilium_envoy(cluster)
        } else {
            *part
        };
    }
    if command.starts_with(PROBE) {
        return Part::Probe;
    }
    if pod.namespace == SYSTEM_NAMESPACE {
        let by_command = part_of_command(command, cluster);
        return by_command.unwrap_or(Part::ClusterServices);
    }
    Part::Application
}

fn part_of_command(command: &str, cluster: ClusterFacts) -> Option<Part> {
    if command.starts_with("cilium-envoy") {
        return Some(cilium_envoy(cluster));
    }
    let rule = COMMANDS
        .iter()
        .find(|(start, _)| command.starts_with(start));
    rule.map(|(_, part)| *part)
}

fn part_of_service(command: &str, path: Option<&str>, cluster: ClusterFacts) -> Part {
    let unit = path.and_then(|path| path.rsplit('/').find(|unit| unit.ends_with(".service")));
    match unit {
        // Its threads have names of their own.
        Some(unit) if unit.starts_with("weighbridge") => Part::Probe,
        Some(_) => part_of_command(command, cluster).unwrap_or(Part::NodeServices),
        None => part_of_command(command, cluster).unwrap_or(Part::Other),
    }
}

fn cilium_envoy(cluster: ClusterFacts) -> Part {
    if cluster.cilium_envoy_is_gateway {
        Part::Gateway
    } else {
        Part::Cni
    }
}

#[cfg(test)]
mod tests {
    use trace_schema::cpu::CycleSource;

    use super::*;

    const NO_GATEWAY: ClusterFacts = ClusterFacts {
        cilium_envoy_is_gateway: false,
    };
    const GATEWAY: ClusterFacts = ClusterFacts {
        cilium_envoy_is_gateway: true,
    };

    fn row(scope: CpuScope, command: &str) -> CpuRow {
        CpuRow {
            interval_start_us: 0,
            interval_end_us: 1_000_000,
            node: "worker".to_owned(),
            boot_id: "boot".to_owned(),
            scope,
            cgroup_id: None,
            cgroup_path: None,
            pod_uid: None,
            container_id: None,
            command: Some(command.to_owned()),
            vector: None,
            events: 1,
            cpu_ns: 1,
            cycles: None,
            cycle_source: CycleSource::None,
        }
    }

    #[track_caller]
    fn check_pod(
        namespace: &str,
        labels: &[(&str, &str)],
        command: &str,
        cluster: ClusterFacts,
        expected: Part,
    ) {
        let labels = labels.iter();
        let pod = PodFacts {
            name: format!("{namespace}/x"),
            namespace: namespace.to_owned(),
            labels: labels
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let mut row = row(CpuScope::Cgroup, command);
        row.pod_uid = Some("uid".to_owned());
        assert_eq!(part_of(&row, Some(&pod), cluster), Some(expected));
    }

    #[track_caller]
    fn check_service(path: &str, command: &str, expected: Part) {
        let mut row = row(CpuScope::Cgroup, command);
        row.cgroup_path = Some(path.to_owned());
        assert_eq!(part_of(&row, None, NO_GATEWAY), Some(expected));
    }

    #[test]
    fn pods_are_known_by_their_labels() {
        let system = "kube-system";
        let agent = [("app", "antrea"), ("component", "antrea-agent")];
        check_pod(system, &agent, "ovs-vswitchd", NO_GATEWAY, Part::Cni);
        check_pod(system, &agent, "antrea-agent", NO_GATEWAY, Part::Cni);
        let cilium = [("k8s-app", "cilium")];
        check_pod(system, &cilium, "cilium-agent", GATEWAY, Part::Cni);
        check_pod(
            system,
            &[("k8s-app", "kube-proxy")],
            "kube-proxy",
            NO_GATEWAY,
            Part::Cni,
        );
        let dns = [("k8s-app", "kube-dns")];
        check_pod(system, &dns, "coredns", NO_GATEWAY, Part::ClusterServices);
        let gateway = [
            (GATEWAY_NAME, "web"),
            ("app.kubernetes.io/name", "nginx-gateway-fabric"),
        ];
        check_pod("shop", &gateway, "nginx", NO_GATEWAY, Part::Gateway);
        check_pod(
            "nginx-gateway",
            &gateway[1..],
            "gateway",
            NO_GATEWAY,
            Part::ClusterServices,
        );
        // An application may call its process as it likes.
        check_pod(
            "shop",
            &[("app", "web")],
            "cilium-agent",
            NO_GATEWAY,
            Part::Application,
        );
        check_pod("shop", &[], "iperf3", NO_GATEWAY, Part::Application);
        check_pod(
            "weighbridge",
            &[],
            "weighbridge-pro",
            NO_GATEWAY,
            Part::Probe,
        );
    }

    #[test]
    fn envoy_of_cilium_is_a_gateway_where_there_are_gateways() {
        for (cluster, expected) in [(GATEWAY, Part::Gateway), (NO_GATEWAY, Part::Cni)] {
            let own = [("k8s-app", "cilium-envoy")];
            check_pod("kube-system", &own, "wrk:worker_0", cluster, expected);
            let agent = [("k8s-app", "cilium")];
            check_pod("kube-system", &agent, "cilium-envoy", cluster, expected);
        }
    }

    #[test]
    fn services_are_known_by_unit_and_command() {
        check_service(
            "system.slice/kubelet.service",
            "kubelet",
            Part::NodeServices,
        );
        check_service("system.slice/cron.service", "cron", Part::NodeServices);
        check_service(
            "system.slice/ovs-vswitchd.service",
            "ovs-vswitchd",
            Part::Cni,
        );
        check_service(
            "system.slice/weighbridge-probe.service",
            "spool",
            Part::Probe,
        );
        check_service("user.slice", "weighbridge-pro", Part::Probe);
        check_service("", "napi/eth0-8193", Part::KernelReceive);
        check_service("", "kworker/0:1", Part::Other);
    }

    #[test]
    fn pods_without_an_object_are_known_by_command() {
        let mut row = row(CpuScope::Cgroup, "etcd");
        row.pod_uid = Some("mirror".to_owned());
        assert_eq!(part_of(&row, None, NO_GATEWAY), Some(Part::ClusterServices));
        row.command = Some("java".to_owned());
        assert_eq!(part_of(&row, None, NO_GATEWAY), Some(Part::Application));
    }

    #[test]
    fn scopes_that_are_no_tasks_have_parts_of_their_own_or_none() {
        let mut softirq = row(CpuScope::Softirq, "iperf3");
        for (vector, part) in [
            ("net_rx", Part::KernelReceive),
            ("net_tx", Part::KernelTransmit),
            ("timer", Part::Other),
        ] {
            softirq.vector = Some(vector.to_owned());
            assert_eq!(part_of(&softirq, None, NO_GATEWAY), Some(part));
        }
        let outside = row(CpuScope::Outside, "weighbridge-pro");
        assert_eq!(part_of(&outside, None, NO_GATEWAY), Some(Part::Outside));
        assert_eq!(part_of(&row(CpuScope::Idle, ""), None, NO_GATEWAY), None);
        assert_eq!(part_of(&row(CpuScope::Program, ""), None, NO_GATEWAY), None);
    }
}
