//! A dataset of so many flow rows as probes write it: four nodes, intervals of a second, merged files.
//!
//! Numbers are drawn, so that files compress no better than real ones; the books balance, so that
//! whoever adds the rows up wrongly is found out. Each call writes the same bytes.

use std::path::Path;

use anyhow::Context as _;
use trace_schema::Record;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{Count, LedgerRow, Vantage};

use super::draw::Draw;

const NODES: [&str; 4] = ["worker-1", "worker-2", "worker-3", "gateway"];
/// Connections of a node; each is seen at four hooks.
const CONNECTIONS: i32 = 250;
const HOOKS: [(Vantage, Direction); 4] = [
    (Vantage::Pod, Direction::Egress),
    (Vantage::Pod, Direction::Ingress),
    (Vantage::Uplink, Direction::Egress),
    (Vantage::Uplink, Direction::Ingress),
];
const ROWS_A_INTERVAL: u64 = 4 * 4 * 250;
/// Intervals in a file, as merging makes them.
const INTERVALS_A_FILE: i64 = 100;
/// A midnight.
const START_US: i64 = 1_795_219_200 * SECOND_US;
const SECOND_US: i64 = 1_000_000;
const LINK_HEADER_BYTES: i32 = 14;
const POD_IP_HEADERS_BYTES: i64 = 52;

/// Writes a dataset of at least so many rows of `flows`, and returns their number.
pub fn write(root: &Path, rows: u64) -> anyhow::Result<u64> {
    let intervals = rows.div_ceil(ROWS_A_INTERVAL);
    let last = i64::try_from(intervals).context("too many rows")?;
    std::thread::scope(|scope| {
        let halves = NODES.chunks(2).map(|nodes| {
            scope.spawn(move || {
                let mut written = nodes.iter().map(|node| Node::new(node).write(root, last));
                written.try_for_each(|written| written)
            })
        });
        let halves: Vec<_> = halves.collect();
        let mut ended = halves.into_iter().map(|half| half.join());
        ended.try_for_each(|ended| ended.map_err(|_| anyhow::anyhow!("a writer panicked"))?)
    })?;
    Ok(intervals * ROWS_A_INTERVAL)
}

struct Node {
    name: &'static str,
    boot_id: String,
    draw: Draw,
    flows: Vec<FlowRow>,
}

impl Node {
    fn new(name: &'static str) -> Self {
        let number = NODES.iter().position(|node| *node == name).unwrap_or(0);
        let boot_id = format!("{number:08x}-5d0e-4c31-9a55-0d7f3b1f0e11");
        let flows = (0..CONNECTIONS).flat_map(|connection| {
            let boot_id = boot_id.clone();
            HOOKS.map(|hook| flow(name, &boot_id, number, connection, hook))
        });
        Self {
            name,
            flows: flows.collect(),
            boot_id,
            draw: Draw::new(number as u64 + 1),
        }
    }

    fn write(mut self, root: &Path, intervals: i64) -> anyhow::Result<()> {
        for first in (0..intervals).step_by(INTERVALS_A_FILE as usize) {
            let last = intervals.min(first + INTERVALS_A_FILE) - 1;
            let (mut flows, mut ledger) = (Vec::new(), Vec::new());
            for interval in first..=last {
                self.interval(interval, &mut flows, &mut ledger);
            }
            self.file(root, (first, last), &flows)?;
            self.file(root, (first, last), &ledger)?;
        }
        Ok(())
    }

    fn interval(&mut self, number: i64, flows: &mut Vec<FlowRow>, ledger: &mut Vec<LedgerRow>) {
        let interval_us = (
            START_US + number * SECOND_US,
            START_US + (number + 1) * SECOND_US,
        );
        let mut counted = [Count::default(); HOOKS.len()];
        for (at, flow) in self.flows.iter().enumerate() {
            let packets = 1 + self.draw.below(400);
            let buffers = 1 + packets / 20;
            let payload = 1 + self.draw.below(1_448);
            let row = FlowRow {
                interval_start_us: interval_us.0,
                interval_end_us: interval_us.1,
                packets,
                bytes: packets * (payload + POD_IP_HEADERS_BYTES),
                buffers,
                buffer_bytes: packets * payload + buffers * POD_IP_HEADERS_BYTES,
                tcp_flags: if number == 0 { 0x12 } else { 0x18 },
                srtt_us: flow.srtt_us.map(|_| 100 + self.draw.below(900)),
                first_seen_us: interval_us.0 + self.draw.below(20_000),
                last_seen_us: interval_us.1 - self.draw.below(20_000),
                ..flow.clone()
            };
            let sum = &mut counted[at % HOOKS.len()];
            sum.packets += row.packets;
            sum.bytes += row.bytes;
            sum.buffers += row.buffers;
            sum.buffer_bytes += row.buffer_bytes;
            flows.push(row);
        }
        for ((vantage, direction), counted) in HOOKS.into_iter().zip(counted) {
            let is_uplink = vantage == Vantage::Uplink;
            let link_bytes = i64::from(LINK_HEADER_BYTES) * counted.packets;
            ledger.push(LedgerRow {
                interface: is_uplink.then(|| "eth0".to_owned()),
                direction: Some(direction),
                counted,
                link_header_bytes: LINK_HEADER_BYTES,
                kernel_packets: is_uplink.then_some(counted.packets),
                kernel_bytes: is_uplink.then_some(counted.bytes + link_bytes),
                boundary_packets: is_uplink.then_some(0),
                boundary_bytes: is_uplink.then_some(0),
                dropped_behind_packets: is_uplink.then_some(0),
                map_entries: CONNECTIONS.into(),
                map_capacity: 1 << 16,
                ..LedgerRow::idle(interval_us, self.name, &self.boot_id, vantage)
            });
        }
    }

    fn file<R: Record>(&self, root: &Path, span: (i64, i64), rows: &[R]) -> anyhow::Result<()> {
        let start_us = START_US + span.0 * SECOND_US;
        let sequence = |number: i64| u64::try_from(number).unwrap_or_default();
        let name = FileName::of_interval(start_us, &self.boot_id, 1, sequence(span.0));
        let last = FileName::of_interval(start_us, &self.boot_id, 1, sequence(span.1));
        let name = name.merged_with(&last).to_string();
        let folder = partition_dir(root, R::TABLE, start_us, self.name);
        let metadata = FileMetadata {
            node: self.name.to_owned(),
            boot_id: self.boot_id.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: "made up by cargo xtask bench analyzer".to_owned(),
        };
        Ok(file::write(&folder.join(name), rows, &metadata)?)
    }
}

/// A connection at a hook, without what differs by interval.
fn flow(
    node: &str,
    boot_id: &str,
    number: usize,
    connection: i32,
    (vantage, direction): (Vantage, Direction),
) -> FlowRow {
    let is_pod = vantage == Vantage::Pod;
    let pod = connection % 25;
    let near = match is_pod {
        true => format!("10.244.{number}.{}", 10 + pod),
        false => format!("172.18.0.{}", 2 + number),
    };
    let far = format!("203.0.113.{}", 1 + connection % 7);
    let (near_port, far_port) = (32_768 + connection, 5_201);
    let is_egress = direction == Direction::Egress;
    let (src_address, dst_address) = if is_egress { (near, far) } else { (far, near) };
    let (src_port, dst_port) = match is_egress {
        true => (near_port, far_port),
        false => (far_port, near_port),
    };
    FlowRow {
        interval_start_us: 0,
        interval_end_us: 0,
        node: node.to_owned(),
        boot_id: boot_id.to_owned(),
        vantage,
        nat_state: if is_pod {
            NatState::Pre
        } else {
            NatState::Undetermined
        },
        interface: (!is_pod).then(|| "eth0".to_owned()),
        direction,
        pod_uid: is_pod.then(|| format!("{number:08x}-0000-4000-8000-{pod:012x}")),
        container_id: is_pod.then(|| format!("{number:032x}{pod:032x}")),
        cgroup_id: is_pod.then_some(4_000 + i64::from(pod)),
        protocol: "tcp".to_owned(),
        src_address,
        dst_address,
        src_port,
        dst_port,
        encapsulation: None,
        bytes: 0,
        packets: 0,
        buffers: 0,
        buffer_bytes: 0,
        tcp_flags: 0,
        srtt_us: is_pod.then_some(100),
        min_rtt_us: is_pod.then_some(80),
        retransmits: is_pod.then_some(0),
        cwnd_segments: is_pod.then_some(10),
        first_seen_us: 0,
        last_seen_us: 0,
    }
}
