//! Ten seconds of traffic of one pod, as probes would have counted it: one connection that leaves as
//! the policy demands, and one that does not.

use std::path::Path;

use trace_schema::Record;
use trace_schema::file::{self, FileMetadata};
use trace_schema::flows::{Direction, FlowRow, NatState};
use trace_schema::layout::{FileName, partition_dir};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::snat::{Method, SnatRow, Tuple, Witness};

const BOOT_ID: &str = "2f1c9ad0-5a0b-4f55-9f4e-4c8f9b6f0a01";
const SERVER: &str = "192.0.2.9";
const NODES: [&str; 2] = ["worker", "gateway"];

/// Who sends, and when.
pub struct Traffic<'a> {
    pub pod_uid: &'a str,
    pub pod_address: &'a str,
    pub start_us: i64,
}

impl Traffic<'_> {
    /// Writes the tables; each exit is a node and the address that left it.
    pub fn write(&self, dataset: &Path, exits: &[(&str, &str)]) {
        let (mut flows, mut snat, mut ledger) = (Vec::new(), Vec::new(), Vec::new());
        for second in 0..10 {
            for node in NODES {
                ledger.push(self.books(node, Vantage::Pod, None, second));
                ledger.push(self.books(node, Vantage::Wire, Some("eth0"), second));
            }
        }
        for (number, (node, address)) in (0..).zip(exits) {
            for second in 1..=3 {
                flows.push(self.flow(40_000 + number, second));
                snat.push(self.pairing(40_000 + number, second, node, address));
            }
        }
        for node in NODES {
            let of_node = |row: &&LedgerRow| row.node == node;
            self.write_file(
                dataset,
                node,
                &ledger.iter().filter(of_node).cloned().collect::<Vec<_>>(),
            );
            let of_node = |row: &&SnatRow| row.node == node;
            self.write_file(
                dataset,
                node,
                &snat.iter().filter(of_node).cloned().collect::<Vec<_>>(),
            );
        }
        self.write_file(dataset, "worker", &flows);
    }

    fn write_file<R: Record>(&self, dataset: &Path, node: &str, rows: &[R]) {
        let name = FileName::of_interval(self.start_us, BOOT_ID, 1, 0);
        let metadata = FileMetadata {
            node: node.to_owned(),
            boot_id: BOOT_ID.to_owned(),
            tool_version: "test".to_owned(),
            clock: "test".to_owned(),
        };
        let path = partition_dir(dataset, R::TABLE, self.start_us, node).join(name.to_string());
        file::write(&path, rows, &metadata).expect("a file");
    }

    fn at(&self, second: i64, ms: i64) -> i64 {
        self.start_us + second * 1_000_000 + ms * 1_000
    }

    fn books(
        &self,
        node: &str,
        vantage: Vantage,
        interface: Option<&str>,
        second: i64,
    ) -> LedgerRow {
        let span_us = (self.at(second, 0), self.at(second + 1, 0));
        LedgerRow {
            interface: interface.map(str::to_owned),
            direction: (vantage == Vantage::Pod).then_some(Direction::Egress),
            map_capacity: 65_536,
            ..LedgerRow::idle(span_us, node, BOOT_ID, vantage)
        }
    }

    fn flow(&self, port: i32, second: i64) -> FlowRow {
        FlowRow {
            interval_start_us: self.at(second, 0),
            interval_end_us: self.at(second + 1, 0),
            node: "worker".to_owned(),
            boot_id: BOOT_ID.to_owned(),
            vantage: Vantage::Pod,
            nat_state: NatState::Pre,
            interface: None,
            direction: Direction::Egress,
            pod_uid: Some(self.pod_uid.to_owned()),
            container_id: None,
            cgroup_id: Some(77),
            protocol: "tcp".to_owned(),
            src_address: self.pod_address.to_owned(),
            dst_address: SERVER.to_owned(),
            src_port: port,
            dst_port: 5201,
            encapsulation: None,
            bytes: 1_500_000,
            packets: 1_000,
            buffers: 50,
            buffer_bytes: 1_460_000,
            tcp_flags: if second == 1 { 2 | 16 } else { 16 },
            srtt_us: Some(120),
            min_rtt_us: Some(80),
            retransmits: Some(0),
            cwnd_segments: Some(10),
            first_seen_us: self.at(second, 1),
            last_seen_us: self.at(second, 990),
        }
    }

    fn pairing(&self, port: i32, second: i64, node: &str, address: &str) -> SnatRow {
        let pre = Tuple {
            src_address: self.pod_address.to_owned(),
            dst_address: SERVER.to_owned(),
            src_port: port,
            dst_port: 5201,
        };
        let post = Tuple {
            src_address: address.to_owned(),
            ..pre.clone()
        };
        SnatRow {
            interval_start_us: self.at(second, 0),
            interval_end_us: self.at(second + 1, 0),
            node: node.to_owned(),
            boot_id: BOOT_ID.to_owned(),
            interface: "eth0".to_owned(),
            protocol: "tcp".to_owned(),
            translated: Some(true),
            pre: Some(pre),
            post,
            method: Method::Fingerprint,
            witness: Witness::Agrees,
            first_seen_us: self.at(1, 1),
            last_seen_us: self.at(second, 990),
            packets: 50,
            buffers: 50,
            packets_until_paired: Some(1),
        }
    }
}
