//! A small dataset of every table: two nodes, two days, rows with and without every optional value.

use std::path::{Path, PathBuf};

use trace_schema::Record;
use trace_schema::cpu::{CpuRow, CpuScope, CycleSource};
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{Count, LedgerRow, Vantage};
use trace_schema::objects::{ObjectEvent, ObjectRow};
use trace_schema::profile::{ProfileEvent, ProfileMode, ProfileRow};
use trace_schema::resources::{ResourceRow, ResourceScope};
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};

const SECOND_US: i64 = 1_000_000;
/// Five seconds before a midnight, so that the intervals fall on two days.
const START_US: i64 = 1_767_225_595 * SECOND_US;
const INTERVALS: i64 = 10;
const NODES: [&str; 2] = ["worker", "gateway/eu west"];
const INSTANCE: u64 = 0x2a;

/// Writes the dataset, one file a table, node and interval.
pub fn write(root: &Path) {
    for node in NODES {
        for interval in 0..INTERVALS {
            let at = Interval {
                node,
                number: interval,
                start_us: START_US + interval * SECOND_US,
            };
            at.write(
                root,
                &(0..7).map(|number| at.flow(number)).collect::<Vec<_>>(),
            );
            at.write(
                root,
                &(0..5).map(|number| at.pairing(number)).collect::<Vec<_>>(),
            );
            at.write(
                root,
                &(0..3).map(|number| at.answers(number)).collect::<Vec<_>>(),
            );
            at.write(
                root,
                &(0..5).map(|number| at.charge(number)).collect::<Vec<_>>(),
            );
            at.write(
                root,
                &(0..3).map(|number| at.resource(number)).collect::<Vec<_>>(),
            );
            at.write(
                root,
                &(0..3).map(|number| at.sample(number)).collect::<Vec<_>>(),
            );
            at.write(root, &[at.books(None), at.books(Some("eth0"))]);
            at.write(
                root,
                &[
                    at.object(ObjectEvent::Added),
                    at.object(ObjectEvent::Deleted),
                ],
            );
        }
    }
}

/// Puts the flow files of the first node and day into one, as the probe does.
pub fn merge_flows(root: &Path) {
    let folder = partition_dir(root, FlowRow::TABLE, START_US, NODES[0]);
    let list = std::fs::read_dir(&folder).unwrap();
    let mut names: Vec<FileName> = list
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    names.sort();
    assert!(names.len() > 1, "nothing to merge in {folder:?}");
    let inputs: Vec<PathBuf> = names
        .iter()
        .map(|name| folder.join(name.to_string()))
        .collect();
    let merged = names[0].merged_with(&names[names.len() - 1]);
    file::merge::<FlowRow>(&inputs, &folder.join(merged.to_string())).unwrap();
    for input in inputs {
        std::fs::remove_file(input).unwrap();
    }
}

struct Interval {
    node: &'static str,
    number: i64,
    start_us: i64,
}

impl Interval {
    fn write<R: Record>(&self, root: &Path, rows: &[R]) {
        let boot_id = self.boot_id();
        let sequence = u64::try_from(self.number).unwrap();
        let name = FileName::of_interval(self.start_us, &boot_id, INSTANCE, sequence);
        let folder = partition_dir(root, R::TABLE, self.start_us, self.node);
        let metadata = FileMetadata {
            node: self.node.to_owned(),
            boot_id,
            tool_version: "0.0.0".to_owned(),
            clock: "written by a test".to_owned(),
        };
        file::write(&folder.join(name.to_string()), rows, &metadata).unwrap();
    }

    fn boot_id(&self) -> String {
        "6f1c0a52-5d0e-4c31-9a55-0d7f3b1f0e11".to_owned()
    }

    fn end_us(&self) -> i64 {
        self.start_us + SECOND_US
    }

    fn flow(&self, number: i64) -> FlowRow {
        let tcp = (number % 2 == 0).then_some(number + self.number);
        FlowRow {
            interval_start_us: self.start_us,
            interval_end_us: self.end_us(),
            node: self.node.to_owned(),
            boot_id: self.boot_id(),
            vantage: if number < 3 {
                Vantage::Pod
            } else {
                Vantage::Uplink
            },
            nat_state: NatState::Pre,
            interface: (number >= 3).then(|| "eth0".to_owned()),
            direction: if number % 3 == 0 {
                Direction::Egress
            } else {
                Direction::Ingress
            },
            pod_uid: (number < 3).then(|| format!("uid-{number}")),
            container_id: None,
            cgroup_id: (number < 3).then_some(number),
            protocol: "tcp".to_owned(),
            src_address: format!("10.10.1.{}", number + 2),
            dst_address: "2001:db8::1".to_owned(),
            src_port: 40_000 + i32::try_from(number).unwrap(),
            dst_port: 5201,
            encapsulation: None,
            bytes: (1 << 40) + number * 1_448,
            packets: 1_000 + number,
            buffers: 100 + number,
            buffer_bytes: (1 << 33) + number,
            tcp_flags: 0x18,
            srtt_us: tcp,
            min_rtt_us: tcp,
            retransmits: tcp,
            cwnd_segments: tcp,
            first_seen_us: self.start_us + number,
            last_seen_us: self.end_us() - number,
        }
    }

    fn pairing(&self, number: i64) -> SnatRow {
        let post = Tuple {
            src_address: format!("192.0.2.{}", number % 2),
            dst_address: "198.51.100.7".to_owned(),
            src_port: 50_000 + i32::try_from(number).unwrap(),
            dst_port: 5201,
        };
        let paired = number != 4;
        SnatRow {
            interval_start_us: self.start_us,
            interval_end_us: self.end_us(),
            node: self.node.to_owned(),
            boot_id: self.boot_id(),
            interface: "eth0".to_owned(),
            protocol: "udp".to_owned(),
            pre: paired.then(|| Tuple {
                src_address: "10.10.1.2".to_owned(),
                ..post.clone()
            }),
            post,
            translated: paired.then_some(number != 3),
            method: match number {
                4 => Method::Unpaired,
                3 => Method::Conntrack,
                _ => Method::Fingerprint,
            },
            witness: Witness::Absent,
            first_seen_us: self.start_us + number,
            last_seen_us: self.end_us() - number,
            packets: 20 + number,
            buffers: 10 + number,
            packets_until_paired: paired.then_some(1),
        }
    }

    fn answers(&self, number: i64) -> HttpRow {
        HttpRow {
            interval_start_us: self.start_us,
            interval_end_us: self.start_us + SECOND_US,
            node: self.node.to_owned(),
            boot_id: "4f0c2b9e".to_owned(),
            pod_uid: Some(format!("pod-{number}")),
            container_id: None,
            cgroup_id: number,
            local_address: format!("10.244.1.{number}"),
            local_port: 8080,
            peer_address: "10.244.0.9".to_owned(),
            version: if number == 2 {
                HttpVersion::Http2
            } else {
                HttpVersion::Http11
            },
            status: (number != 2).then_some(200),
            responses: 10 + number,
            latency_lower_us: (0..number).map(|bucket| 64 + 4 * bucket).collect(),
            latency_upper_us: (0..number).map(|bucket| 68 + 4 * bucket).collect(),
            latency_responses: (0..number).map(|bucket| 3 + bucket).collect(),
        }
    }

    fn charge(&self, number: i64) -> CpuRow {
        let scope = [
            CpuScope::Cgroup,
            CpuScope::Cgroup,
            CpuScope::Softirq,
            CpuScope::Softirq,
            CpuScope::Idle,
        ][number as usize];
        let task = scope == CpuScope::Cgroup;
        let softirq = scope == CpuScope::Softirq;
        CpuRow {
            interval_start_us: self.start_us,
            interval_end_us: self.end_us(),
            node: self.node.to_owned(),
            boot_id: self.boot_id(),
            scope,
            cgroup_id: task.then_some(100 + number),
            cgroup_path: task.then(|| format!("kubepods.slice/pod{number}")),
            pod_uid: (number == 0).then(|| "uid-0".to_owned()),
            container_id: None,
            command: task.then(|| format!("größe-{number}")),
            vector: softirq.then(|| if number == 2 { "net_rx" } else { "net_tx" }.to_owned()),
            events: 10 + number,
            cpu_ns: 1_000_003 * (number + 1) + self.number,
            cycles: (scope != CpuScope::Idle).then_some((1 << 33) + number),
            cycle_source: if scope == CpuScope::Idle {
                CycleSource::None
            } else {
                CycleSource::Reference
            },
        }
    }

    fn resource(&self, number: i64) -> ResourceRow {
        let is_node = number == 0;
        let of_node = is_node.then_some(7_000_000 + self.number);
        let of_group = (!is_node).then_some(1_000 * number + self.number);
        ResourceRow {
            interval_start_us: self.start_us,
            interval_end_us: self.end_us(),
            node: self.node.to_owned(),
            boot_id: self.boot_id(),
            scope: if is_node {
                ResourceScope::Node
            } else {
                ResourceScope::Container
            },
            cgroup_id: of_group,
            cgroup_path: (!is_node).then(|| format!("kubepods.slice/pod{number}/c")),
            pod_uid: (!is_node).then(|| format!("uid-{number}")),
            container_id: (!is_node).then(|| format!("c-{number}")),
            cpus: is_node.then_some(4),
            cpu_ns: Some(1 << 34),
            cpu_user_ns: Some(number),
            cpu_system_ns: of_node,
            cpu_softirq_ns: of_node,
            cpu_steal_ns: of_node,
            cpu_throttled_ns: of_group,
            memory_bytes: Some((1 << 33) + number),
            memory_working_set_bytes: of_group.map(|bytes| bytes << 20),
            memory_limit_bytes: of_node,
            cpu_some_pressure_us: of_group,
            memory_some_pressure_us: of_node,
            memory_full_pressure_us: of_node,
            io_some_pressure_us: of_group,
        }
    }

    fn sample(&self, number: i64) -> ProfileRow {
        let in_kernel = number == 0;
        ProfileRow {
            interval_start_us: self.start_us,
            interval_end_us: self.end_us(),
            node: self.node.to_owned(),
            boot_id: self.boot_id(),
            event: ProfileEvent::CpuClock,
            frequency_hz: 99,
            mode: [ProfileMode::Kernel, ProfileMode::User, ProfileMode::Idle][number as usize],
            cgroup_id: (number < 2).then_some(number),
            cgroup_path: None,
            pod_uid: (number == 1).then(|| "uid-1".to_owned()),
            container_id: None,
            command: format!("command-{number}"),
            stack: if in_kernel {
                "net_rx_action;ip_rcv;bpf_prog_ab12_größe".to_owned()
            } else {
                String::new()
            },
            samples: 3 + number + self.number,
        }
    }

    fn books(&self, interface: Option<&str>) -> LedgerRow {
        let count = |factor: i64| Count {
            packets: factor * (self.number + 1),
            bytes: factor * 1_500,
            buffers: factor * 2,
            buffer_bytes: factor * 1_400,
        };
        let kernel = interface.map(|_| 1 << 35);
        LedgerRow {
            interval_start_us: self.start_us,
            interval_end_us: self.end_us(),
            node: self.node.to_owned(),
            boot_id: self.boot_id(),
            vantage: if interface.is_some() {
                Vantage::Uplink
            } else {
                Vantage::Pod
            },
            interface: interface.map(str::to_owned),
            direction: Some(Direction::Egress),
            counted: count(1_000_000_007),
            overflow: count(3),
            non_ip: count(5),
            ip_unparsed: count(7),
            link_header_bytes: 14,
            virtual_function: interface.map(|name| format!("{name}v0")),
            kernel_packets: kernel,
            kernel_bytes: kernel,
            boundary_packets: kernel.map(|_| 0),
            boundary_bytes: kernel.map(|_| 0),
            dropped_behind_packets: kernel.map(|_| 11),
            pairing_missed: self.number,
            pairing_ambiguous: 0,
            pairing_overflow: 0,
            http_unparsed: 0,
            ring_drops: 0,
            hook_misses: None,
            map_entries: 7,
            map_capacity: 65_536,
            spool_dropped_rows: 13 * self.number,
        }
    }

    fn object(&self, event: ObjectEvent) -> ObjectRow {
        ObjectRow {
            observed_at_us: self.start_us,
            event,
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: (self.number % 2 == 0).then(|| "default".to_owned()),
            name: "client".to_owned(),
            uid: format!("uid-{}", self.number),
            resource_version: self.number.to_string(),
            object: r#"{"kind":"Pod","metadata":{"name":"client","labels":{"größe":"klein"}}}"#
                .to_owned(),
        }
    }
}
