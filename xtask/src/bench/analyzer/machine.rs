//! What a node's processors and memory did during a run.

use trace_schema::cpu::{CpuRow, CpuScope, CycleSource};
use trace_schema::resources::{ResourceRow, ResourceScope};

use super::campaign::{NODES, Run, SECONDS, boot_id};

const CPUS: i32 = 4;
const CONTAINERS: i64 = 20;

impl Run {
    /// Of all CPUs' time a fifth; the rest is idle.
    pub(super) fn charges(&mut self, node: usize) -> Vec<CpuRow> {
        let mut rows = Vec::new();
        for second in 0..SECONDS {
            let mut idle_ns = i64::from(CPUS) * 1_000_000_000;
            let mut busy = Vec::new();
            for container in 0..CONTAINERS {
                let name = format!("pod-{node}-{container}");
                let cpu_ns = 20_000_000 + self.draw.below(10_000_000);
                busy.push((CpuScope::Cgroup, Some(name), None, cpu_ns));
            }
            busy.push((CpuScope::Softirq, None, Some("net_rx"), 200_000_000));
            busy.push((CpuScope::Softirq, None, Some("net_tx"), 10_000_000));
            for (scope, name, vector, cpu_ns) in busy {
                idle_ns -= cpu_ns;
                rows.push(self.charge((node, second), (scope, name, vector), cpu_ns));
            }
            rows.push(self.charge((node, second), (CpuScope::Idle, None, None), idle_ns));
        }
        rows
    }

    fn charge(
        &self,
        (node, second): (usize, i64),
        (scope, name, vector): (CpuScope, Option<String>, Option<&str>),
        cpu_ns: i64,
    ) -> CpuRow {
        CpuRow {
            interval_start_us: self.second_us(second),
            interval_end_us: self.second_us(second + 1),
            node: NODES[node].0.to_owned(),
            boot_id: boot_id(node),
            scope,
            cgroup_id: name.as_ref().map(|name| name.len() as i64),
            cgroup_path: name.as_ref().map(|name| format!("kubepods.slice/{name}")),
            pod_uid: name.clone(),
            container_id: None,
            command: name.map(|_| "nginx".to_owned()),
            vector: vector.map(str::to_owned),
            events: 100,
            cpu_ns,
            cycles: (scope != CpuScope::Idle).then_some(2 * cpu_ns),
            cycle_source: match scope {
                CpuScope::Idle => CycleSource::None,
                _ => CycleSource::Reference,
            },
        }
    }

    pub(super) fn resources(&self, node: usize) -> Vec<ResourceRow> {
        let mut rows = Vec::new();
        for second in 0..SECONDS {
            for container in -1..CONTAINERS {
                let of_container = container >= 0;
                let name = of_container.then(|| format!("pod-{node}-{container}"));
                rows.push(ResourceRow {
                    interval_start_us: self.second_us(second),
                    interval_end_us: self.second_us(second + 1),
                    node: NODES[node].0.to_owned(),
                    boot_id: boot_id(node),
                    scope: match of_container {
                        true => ResourceScope::Container,
                        false => ResourceScope::Node,
                    },
                    cgroup_id: of_container.then_some(container),
                    cgroup_path: name.as_ref().map(|name| format!("kubepods.slice/{name}")),
                    pod_uid: name.clone(),
                    container_id: name,
                    cpus: (!of_container).then_some(CPUS),
                    cpu_ns: Some(if of_container {
                        25_000_000
                    } else {
                        700_000_000 + self.number
                    }),
                    cpu_user_ns: None,
                    cpu_system_ns: None,
                    cpu_softirq_ns: None,
                    cpu_steal_ns: None,
                    cpu_throttled_ns: None,
                    memory_bytes: Some((2 << 30) + second),
                    memory_working_set_bytes: of_container.then_some(64 << 20),
                    memory_limit_bytes: None,
                    cpu_some_pressure_us: None,
                    memory_some_pressure_us: None,
                    memory_full_pressure_us: None,
                    io_some_pressure_us: None,
                });
            }
        }
        rows
    }
}
