//! A campaign under load as its probes and k6 leave it: two cases in turn, eight runs each, of two
//! minutes in intervals of a second.
//!
//! Every virtual user keeps a connection to the Gateway's pod, which is seen there, at its node's
//! uplink and, on its way back, at the wire; the Gateway keeps some to each backend. What k6 logs is
//! what the backends' rows count, second by second.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use trace_schema::Record;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::manifest::RunManifest;
use trace_schema::objects::ObjectRow;
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};

use super::draw::Draw;
use super::hooks::{HOOKS, templates};
use super::objects;

/// Nodes with their addresses; the Gateway's pod is on the first.
pub const NODES: [(&str, &str); 3] = [
    ("worker-1", "172.18.0.2"),
    ("worker-2", "172.18.0.3"),
    ("worker-3", "172.18.0.4"),
];
/// The Gateway's pod with its address.
pub const GATEWAY_POD: (&str, &str) = ("shop-nginx-7c5d9b6f4-x8k2p", "10.244.1.9");
/// Pods of the backends with address and node, two of each service.
pub const BACKENDS: [(&str, &str, usize); 4] = [
    ("echo-v1-6d5f7c9b8d-x2k4p", "10.244.2.11", 1),
    ("echo-v1-6d5f7c9b8d-m7r3t", "10.244.3.11", 2),
    ("echo-v2-7f86b5c5b9-q9w8z", "10.244.2.12", 1),
    ("echo-v2-7f86b5c5b9-j4n6s", "10.244.3.12", 2),
];

const RUNS: i64 = 16;
/// Length of a run.
pub(super) const SECONDS: i64 = 120;
const PAUSE_S: i64 = 30;
const SECOND_US: i64 = 1_000_000;
/// 2026-11-21T00:00:00Z.
const START_US: i64 = 1_795_219_200 * SECOND_US;

/// How much was written.
#[derive(Default, Serialize, Deserialize)]
pub struct Written {
    /// Load runs.
    pub runs: u64,
    /// Responses in k6's logs.
    pub responses: u64,
    /// Rows of `flows`.
    pub flows: u64,
    /// Rows of `snat`.
    pub snat: u64,
    /// Rows of all other tables.
    pub others: u64,
}

/// Writes the dataset.
pub fn write(root: &Path, users: u32, responses: u32) -> anyhow::Result<Written> {
    let recorded = objects::rows(START_US - 10 * SECOND_US);
    let recorder = Run {
        number: 0,
        users: 0,
        draw: Draw::new(1),
    };
    let mut written = Written::default();
    written.others += recorder.file::<ObjectRow>(root, "recorder", &recorded)?;
    for number in 0..RUNS {
        let users = i32::try_from(users).context("too many users")?;
        let draw = Draw::new(number.unsigned_abs() + 1);
        Run {
            number,
            users,
            draw,
        }
        .write(root, responses, &mut written)?;
    }
    Ok(written)
}

/// A load run.
pub(super) struct Run {
    pub(super) number: i64,
    users: i32,
    pub(super) draw: Draw,
}

/// Responses of each pod, by second.
type Counts = Vec<[i64; BACKENDS.len()]>;

impl Run {
    fn write(mut self, root: &Path, responses: u32, into: &mut Written) -> anyhow::Result<()> {
        let counts = self.load(root, responses)?;
        into.runs += 1;
        into.responses += u64::from(responses);
        into.others += self.file(root, NODES[1].0, &self.answers(&counts, 1))?;
        into.others += self.file(root, NODES[2].0, &self.answers(&counts, 2))?;
        for (at, (node, _)) in NODES.into_iter().enumerate() {
            let flows = self.flows(at);
            into.flows += self.file(root, node, &flows)?;
            into.others += self.file(root, node, &self.books(node, &flows))?;
            drop(flows);
            let wires = self.wires(at);
            into.snat += self.file(root, node, &wires)?;
            let charges = self.charges(at);
            into.others += self.file(root, node, &charges)?;
            into.others += self.file(root, node, &self.resources(at))?;
        }
        Ok(())
    }

    /// Writes k6's log and the manifest.
    fn load(&mut self, root: &Path, responses: u32) -> anyhow::Result<Counts> {
        let case = ["nginx", "envoy"][(self.number % 2) as usize];
        let repetition = u32::try_from(self.number / 2 + 1)?;
        let id = format!("{case}-{repetition:02}");
        let folder = root.join("runs").join(&id);
        let mut manifest = RunManifest {
            campaign: "ingress".to_owned(),
            case: case.to_owned(),
            repetition,
            block: Some(repetition),
            tool_version: "k6 v1.1.0".to_owned(),
            kernel: "6.1.0".to_owned(),
            ..RunManifest::new(&id, "k6", (self.start_us(), self.second_us(SECONDS)))
        };
        let log = "console.log";
        manifest
            .files
            .insert(log.to_owned(), "k6-console".to_owned());
        manifest
            .factors
            .insert("users".to_owned(), self.users.to_string());
        manifest.write(&folder)?;
        let path = folder.join(log);
        let log = std::fs::File::create(&path)
            .with_context(|| format!("could not write {}", path.display()))?;
        let mut log = BufWriter::with_capacity(1 << 20, log);
        let mut counts: Counts = vec![[0; BACKENDS.len()]; SECONDS as usize];
        let mut line = String::new();
        for response in 0..i64::from(responses) {
            let at_us = self.start_us() + response * SECONDS * SECOND_US / i64::from(responses);
            let of_first = self.draw.below(100) < 60;
            let pod = 2 * usize::from(!of_first) + self.draw.below(2) as usize;
            counts[((at_us - self.start_us()) / SECOND_US) as usize][pod] += 1;
            line.clear();
            let (clock, ms) = (clock(at_us), at_us / 1_000 % 1_000);
            let name = BACKENDS[pod].0;
            writeln!(
                line,
                "time=\"{clock}Z\" level=info msg=\"[{clock}.{ms:03}Z] Hostname: {name}\" source=console"
            )?;
            log.write_all(line.as_bytes())?;
        }
        log.flush()?;
        Ok(counts)
    }

    fn answers(&self, counts: &Counts, node: usize) -> Vec<HttpRow> {
        let seconds = (0..SECONDS).zip(counts);
        let rows = seconds.flat_map(|(second, counts)| {
            let pods = BACKENDS.iter().zip(counts);
            let here = pods.filter(move |((_, _, of_node), _)| *of_node == node);
            here.map(move |((name, address, _), responses)| HttpRow {
                interval_start_us: self.second_us(second),
                interval_end_us: self.second_us(second + 1),
                node: NODES[node].0.to_owned(),
                boot_id: boot_id(node),
                pod_uid: Some((*name).to_owned()),
                container_id: None,
                cgroup_id: 7,
                local_address: (*address).to_owned(),
                local_port: 8080,
                peer_address: GATEWAY_POD.1.to_owned(),
                version: HttpVersion::Http11,
                status: Some(200),
                responses: *responses,
                latency_lower_us: vec![992, 1024],
                latency_upper_us: vec![1024, 1088],
                latency_responses: vec![responses / 2, responses - responses / 2],
            })
        });
        rows.collect()
    }

    fn flows(&mut self, node: usize) -> Vec<FlowRow> {
        let templates = templates(node, self.users);
        let mut rows = Vec::with_capacity(templates.len() * SECONDS as usize);
        for second in 0..SECONDS {
            for flow in &templates {
                let packets = 1 + self.draw.below(20);
                let payload = 100 + self.draw.below(400);
                rows.push(FlowRow {
                    interval_start_us: self.second_us(second),
                    interval_end_us: self.second_us(second + 1),
                    packets,
                    bytes: packets * (52 + payload),
                    buffers: packets,
                    buffer_bytes: packets * (52 + payload),
                    tcp_flags: if second == 0 { 0x12 } else { 0x18 },
                    first_seen_us: self.second_us(second) + self.opens_us(flow),
                    last_seen_us: self.second_us(second + 1) - self.draw.below(1_000),
                    ..flow.clone()
                });
            }
        }
        rows
    }

    /// Who asks speaks first.
    fn opens_us(&mut self, flow: &FlowRow) -> i64 {
        let answers = matches!(flow.src_port, 80 | 8080);
        self.draw.below(400) + if answers { 500 } else { 0 }
    }

    fn wires(&mut self, node: usize) -> Vec<SnatRow> {
        let mut flows = templates(node, self.users);
        flows.retain(|flow| flow.vantage == Vantage::Uplink && flow.direction == Direction::Egress);
        let mut rows = Vec::new();
        for second in 0..SECONDS {
            for flow in &flows {
                let post = Tuple {
                    src_address: flow.src_address.clone(),
                    dst_address: flow.dst_address.clone(),
                    src_port: flow.src_port,
                    dst_port: flow.dst_port,
                };
                let packets = 1 + self.draw.below(20);
                rows.push(SnatRow {
                    interval_start_us: self.second_us(second),
                    interval_end_us: self.second_us(second + 1),
                    node: flow.node.clone(),
                    boot_id: flow.boot_id.clone(),
                    interface: "eth0".to_owned(),
                    protocol: "tcp".to_owned(),
                    pre: Some(post.clone()),
                    post,
                    translated: Some(false),
                    method: Method::Fingerprint,
                    witness: Witness::Absent,
                    first_seen_us: self.start_us() + 600,
                    last_seen_us: self.second_us(second + 1) - self.draw.below(1_000),
                    packets,
                    buffers: packets,
                    packets_until_paired: Some(1),
                });
            }
        }
        rows
    }

    /// The ledger that goes with the flows.
    fn books(&self, node: &str, flows: &[FlowRow]) -> Vec<LedgerRow> {
        let a_second = flows.len() / SECONDS as usize;
        let mut rows = Vec::new();
        for second in 0..SECONDS {
            let flows = &flows[second as usize * a_second..][..a_second];
            let interval_us = (self.second_us(second), self.second_us(second + 1));
            for (vantage, direction) in HOOKS {
                let is_uplink = vantage == Vantage::Uplink;
                let mut row = LedgerRow {
                    interface: is_uplink.then(|| "eth0".to_owned()),
                    direction: Some(direction),
                    link_header_bytes: 14,
                    dropped_behind_packets: is_uplink.then_some(0),
                    map_entries: a_second as i64,
                    map_capacity: 1 << 16,
                    ..LedgerRow::idle(interval_us, node, &boot_id_of(node), vantage)
                };
                let of_hook =
                    |flow: &&FlowRow| (flow.vantage, flow.direction) == (vantage, direction);
                for flow in flows.iter().filter(of_hook) {
                    row.counted.packets += flow.packets;
                    row.counted.bytes += flow.bytes;
                    row.counted.buffers += flow.buffers;
                    row.counted.buffer_bytes += flow.buffer_bytes;
                }
                row.kernel_packets = is_uplink.then_some(row.counted.packets);
                row.kernel_bytes =
                    is_uplink.then_some(row.counted.bytes + 14 * row.counted.packets);
                rows.push(row);
            }
            for (vantage, interface) in [(Vantage::Wire, Some("eth0")), (Vantage::Cpu, None)] {
                rows.push(LedgerRow {
                    interface: interface.map(str::to_owned),
                    map_capacity: 1 << 16,
                    ..LedgerRow::idle(interval_us, node, &boot_id_of(node), vantage)
                });
            }
        }
        rows
    }

    fn start_us(&self) -> i64 {
        START_US + self.number * (SECONDS + PAUSE_S) * SECOND_US
    }

    pub(super) fn second_us(&self, second: i64) -> i64 {
        self.start_us() + second * SECOND_US
    }

    /// Writes one file of a table, as a probe does that ends with its run.
    fn file<R: Record>(&self, root: &Path, node: &str, rows: &[R]) -> anyhow::Result<u64> {
        if rows.is_empty() {
            return Ok(0);
        }
        let (boot_id, instance) = (boot_id_of(node), self.number.unsigned_abs() + 1);
        let name = |sequence| FileName::of_interval(self.start_us(), &boot_id, instance, sequence);
        let name = name(0).merged_with(&name(SECONDS.unsigned_abs()));
        let folder: PathBuf = partition_dir(root, R::TABLE, self.start_us(), node);
        let metadata = FileMetadata {
            node: node.to_owned(),
            boot_id: boot_id.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: "made up by cargo xtask bench analyzer".to_owned(),
        };
        file::write(&folder.join(name.to_string()), rows, &metadata)?;
        Ok(rows.len() as u64)
    }
}

/// Boot id of a node, by its number.
pub(super) fn boot_id(node: usize) -> String {
    boot_id_of(NODES[node].0)
}

fn boot_id_of(node: &str) -> String {
    format!(
        "{:0>8}-5d0e-4c31-9a55-0d7f3b1f0e11",
        &node[node.len() - 1..]
    )
}

/// Date and time of day, to the second; all of it lies within one day.
fn clock(at_us: i64) -> String {
    let second = (at_us - START_US) / SECOND_US;
    let mut text = String::with_capacity(20);
    let _ = write!(
        text,
        "2026-11-21T{:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    );
    text
}
