//! The sums that the queries ask for, from the reader that the analyzer uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use trace_schema::Record;
use trace_schema::cpu::{CpuRow, CpuScope, CycleSource};
use trace_schema::file;
use trace_schema::flows::{Direction, FlowRow};
use trace_schema::http::{HttpRow, HttpVersion};
use trace_schema::ledger::{LedgerRow, Vantage};
use trace_schema::objects::{ObjectEvent, ObjectRow};
use trace_schema::profile::{ProfileEvent, ProfileMode, ProfileRow};
use trace_schema::resources::{ResourceRow, ResourceScope};
use trace_schema::snat::{Method, SnatRow};

use super::Totals;

/// What every table of a dataset holds.
pub fn totals(dataset: &Path) -> BTreeMap<String, Totals> {
    super::tables(dataset)
        .map(|table| {
            let totals = match table {
                "cpu" => cpu(dataset),
                "flows" => flows(dataset),
                "http" => http(dataset),
                "ledger" => ledger(dataset),
                "objects" => objects(dataset),
                "profile" => profile(dataset),
                "resources" => resources(dataset),
                "snat" => snat(dataset),
                other => panic!("nobody knows what the table {other} holds"),
            };
            (table.to_owned(), totals)
        })
        .collect()
}

fn cpu(dataset: &Path) -> Totals {
    let table = Table::<CpuRow>::read(dataset);
    let of_scope =
        |scope: CpuScope| table.sum_of_some(|row| (row.scope == scope).then_some(row.cpu_ns));
    let mut totals = table.partitions();
    totals.extend(named([
        ("kernels", table.distinct(|row| row.boot_id.clone())),
        (
            "cgroup_paths",
            table.distinct_of_some(|row| row.cgroup_path.clone()),
        ),
        ("cpu_ns", table.sum(|row| row.cpu_ns)),
        ("cgroup_cpu_ns", of_scope(CpuScope::Cgroup)),
        ("softirq_cpu_ns", of_scope(CpuScope::Softirq)),
        ("idle_cpu_ns", of_scope(CpuScope::Idle)),
        (
            "net_rx_cpu_ns",
            table
                .sum_of_some(|row| (row.vector.as_deref() == Some("net_rx")).then_some(row.cpu_ns)),
        ),
        ("events", table.sum(|row| row.events)),
        ("with_cycles", table.count(|row| row.cycles.is_some())),
        ("cycles", table.sum_of_some(|row| row.cycles)),
        (
            "reference_rows",
            table.count(|row| row.cycle_source == CycleSource::Reference),
        ),
        ("of_pods", table.count(|row| row.pod_uid.is_some())),
        ("cgroup_ids", table.sum_of_some(|row| row.cgroup_id)),
        (
            "commands",
            table.distinct_of_some(|row| row.command.clone()),
        ),
        (
            "interval_start_us",
            table.rows.iter().map(|row| row.interval_start_us).min(),
        ),
        (
            "interval_end_us",
            table.rows.iter().map(|row| row.interval_end_us).max(),
        ),
    ]));
    totals
}

fn resources(dataset: &Path) -> Totals {
    let table = Table::<ResourceRow>::read(dataset);
    let of_scope = |scope: ResourceScope| table.count(|row| row.scope == scope);
    let working_sets = table.rows.iter();
    let working_sets = working_sets.filter_map(|row| row.memory_working_set_bytes);
    let mut totals = table.partitions();
    totals.extend(named([
        ("node_rows", of_scope(ResourceScope::Node)),
        ("container_rows", of_scope(ResourceScope::Container)),
        ("pods", table.distinct_of_some(|row| row.pod_uid.clone())),
        ("cpus", table.sum_of_some(|row| row.cpus.map(i64::from))),
        ("cpu_ns", table.sum_of_some(|row| row.cpu_ns)),
        ("cpu_user_ns", table.sum_of_some(|row| row.cpu_user_ns)),
        ("cpu_system_ns", table.sum_of_some(|row| row.cpu_system_ns)),
        (
            "cpu_softirq_ns",
            table.sum_of_some(|row| row.cpu_softirq_ns),
        ),
        ("cpu_steal_ns", table.sum_of_some(|row| row.cpu_steal_ns)),
        (
            "cpu_throttled_ns",
            table.sum_of_some(|row| row.cpu_throttled_ns),
        ),
        ("memory_bytes", table.sum_of_some(|row| row.memory_bytes)),
        ("highest_working_set_bytes", working_sets.max()),
        (
            "with_limit",
            table.count(|row| row.memory_limit_bytes.is_some()),
        ),
        (
            "cpu_some_pressure_us",
            table.sum_of_some(|row| row.cpu_some_pressure_us),
        ),
        (
            "memory_some_pressure_us",
            table.sum_of_some(|row| row.memory_some_pressure_us),
        ),
        (
            "memory_full_pressure_us",
            table.sum_of_some(|row| row.memory_full_pressure_us),
        ),
        (
            "io_some_pressure_us",
            table.sum_of_some(|row| row.io_some_pressure_us),
        ),
    ]));
    totals
}

fn profile(dataset: &Path) -> Totals {
    let table = Table::<ProfileRow>::read(dataset);
    let of_mode =
        |mode: ProfileMode| table.sum_of_some(|row| (row.mode == mode).then_some(row.samples));
    let frequencies = table.rows.iter().map(|row| i64::from(row.frequency_hz));
    let mut totals = table.partitions();
    totals.extend(named([
        ("samples", table.sum(|row| row.samples)),
        ("kernel_samples", of_mode(ProfileMode::Kernel)),
        ("idle_samples", of_mode(ProfileMode::Idle)),
        (
            "clock_rows",
            table.count(|row| row.event == ProfileEvent::CpuClock),
        ),
        ("frequency_hz", frequencies.max()),
        ("commands", table.distinct(|row| row.command.clone())),
        ("stacks", table.distinct(|row| row.stack.clone())),
        ("stack_bytes", table.sum(|row| row.stack.len() as i64)),
        ("with_cgroup", table.count(|row| row.cgroup_id.is_some())),
        ("of_pods", table.count(|row| row.pod_uid.is_some())),
    ]));
    totals
}

fn flows(dataset: &Path) -> Totals {
    let table = Table::<FlowRow>::read(dataset);
    let mut totals = table.partitions();
    totals.extend(named([
        (
            "src_addresses",
            table.distinct(|row| row.src_address.clone()),
        ),
        ("bytes", table.sum(|row| row.bytes)),
        ("packets", table.sum(|row| row.packets)),
        ("buffers", table.sum(|row| row.buffers)),
        ("buffer_bytes", table.sum(|row| row.buffer_bytes)),
        ("src_ports", table.sum(|row| i64::from(row.src_port))),
        ("sampled", table.count(|row| row.srtt_us.is_some())),
        ("srtt_us", table.sum_of_some(|row| row.srtt_us)),
        ("pod_rows", table.count(|row| row.vantage == Vantage::Pod)),
        (
            "egress_rows",
            table.count(|row| row.direction == Direction::Egress),
        ),
        (
            "first_seen_us",
            table.rows.iter().map(|row| row.first_seen_us).min(),
        ),
        (
            "last_seen_us",
            table.rows.iter().map(|row| row.last_seen_us).max(),
        ),
    ]));
    totals
}

fn http(dataset: &Path) -> Totals {
    let table = Table::<HttpRow>::read(dataset);
    let mut totals = table.partitions();
    totals.extend(named([
        (
            "local_addresses",
            table.distinct(|row| row.local_address.clone()),
        ),
        ("responses", table.sum(|row| row.responses)),
        ("local_ports", table.sum(|row| i64::from(row.local_port))),
        (
            "http11_rows",
            table.count(|row| row.version == HttpVersion::Http11),
        ),
        ("with_status", table.count(|row| row.status.is_some())),
        (
            "statuses",
            table.sum_of_some(|row| row.status.map(i64::from)),
        ),
        (
            "buckets",
            table.sum(|row| row.latency_lower_us.len() as i64),
        ),
        ("lower_us", table.sum_of_lists(|row| &row.latency_lower_us)),
        ("upper_us", table.sum_of_lists(|row| &row.latency_upper_us)),
        (
            "timed_responses",
            table.sum_of_lists(|row| &row.latency_responses),
        ),
    ]));
    totals
}

fn snat(dataset: &Path) -> Totals {
    let table = Table::<SnatRow>::read(dataset);
    let mut totals = table.partitions();
    totals.extend(named([
        (
            "post_src_addresses",
            table.distinct(|row| row.post.src_address.clone()),
        ),
        ("paired", table.count(|row| row.pre.is_some())),
        (
            "translated",
            table.count(|row| row.translated == Some(true)),
        ),
        (
            "by_fingerprint",
            table.count(|row| row.method == Method::Fingerprint),
        ),
        ("buffers", table.sum(|row| row.buffers)),
        (
            "post_src_ports",
            table.sum(|row| i64::from(row.post.src_port)),
        ),
        (
            "pre_src_ports",
            table.sum_of_some(|row| row.pre.as_ref().map(|pre| i64::from(pre.src_port))),
        ),
        (
            "first_seen_us",
            table.rows.iter().map(|row| row.first_seen_us).min(),
        ),
        (
            "last_seen_us",
            table.rows.iter().map(|row| row.last_seen_us).max(),
        ),
    ]));
    totals
}

fn ledger(dataset: &Path) -> Totals {
    let table = Table::<LedgerRow>::read(dataset);
    let mut totals = table.partitions();
    totals.extend(named([
        ("with_interface", table.count(|row| row.interface.is_some())),
        ("counted_packets", table.sum(|row| row.counted.packets)),
        ("counted_bytes", table.sum(|row| row.counted.bytes)),
        ("overflow_packets", table.sum(|row| row.overflow.packets)),
        ("non_ip_buffers", table.sum(|row| row.non_ip.buffers)),
        (
            "ip_unparsed_buffer_bytes",
            table.sum(|row| row.ip_unparsed.buffer_bytes),
        ),
        (
            "kernel_packets",
            table.sum_of_some(|row| row.kernel_packets),
        ),
        ("kernel_bytes", table.sum_of_some(|row| row.kernel_bytes)),
        (
            "with_drops",
            table.count(|row| row.dropped_behind_packets.is_some()),
        ),
        ("pairing_missed", table.sum(|row| row.pairing_missed)),
        ("http_unparsed", table.sum(|row| row.http_unparsed)),
        (
            "spool_dropped_rows",
            table.sum(|row| row.spool_dropped_rows),
        ),
        (
            "interval_start_us",
            table.rows.iter().map(|row| row.interval_start_us).min(),
        ),
        (
            "interval_end_us",
            table.rows.iter().map(|row| row.interval_end_us).max(),
        ),
    ]));
    totals
}

fn objects(dataset: &Path) -> Totals {
    let table = Table::<ObjectRow>::read(dataset);
    let mut totals = table.partitions();
    totals.extend(named([
        ("uids", table.distinct(|row| row.uid.clone())),
        ("namespaced", table.count(|row| row.namespace.is_some())),
        (
            "deleted",
            table.count(|row| row.event == ObjectEvent::Deleted),
        ),
        ("object_bytes", table.sum(|row| row.object.len() as i64)),
        (
            "observed_at_us",
            table.rows.iter().map(|row| row.observed_at_us).min(),
        ),
    ]));
    totals
}

fn named<const N: usize>(values: [(&str, Option<i64>); N]) -> Totals {
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The rows of a table, and the partitions that they stood in.
struct Table<R> {
    rows: Vec<R>,
    dates: BTreeSet<PathBuf>,
    nodes: BTreeSet<PathBuf>,
}

impl<R: Record> Table<R> {
    fn read(dataset: &Path) -> Self {
        let mut table = Self {
            rows: Vec::new(),
            dates: BTreeSet::new(),
            nodes: BTreeSet::new(),
        };
        for date in entries(&dataset.join(R::TABLE)) {
            for node in entries(&date) {
                for path in entries(&node) {
                    for rows in file::open::<R>(&path).unwrap().rows().unwrap() {
                        table.rows.extend(rows.unwrap());
                    }
                }
                table.nodes.insert(node.file_name().unwrap().into());
            }
            table.dates.insert(date);
        }
        table
    }

    fn partitions(&self) -> Totals {
        named([
            ("rows", self.count(|_| true)),
            ("dates", Some(self.dates.len() as i64)),
            ("nodes", Some(self.nodes.len() as i64)),
        ])
    }

    fn count(&self, keep: impl Fn(&R) -> bool) -> Option<i64> {
        Some(self.rows.iter().filter(|row| keep(row)).count() as i64)
    }

    fn distinct(&self, key: impl Fn(&R) -> String) -> Option<i64> {
        Some(self.rows.iter().map(key).collect::<BTreeSet<_>>().len() as i64)
    }

    fn distinct_of_some(&self, key: impl Fn(&R) -> Option<String>) -> Option<i64> {
        Some(
            self.rows
                .iter()
                .filter_map(key)
                .collect::<BTreeSet<_>>()
                .len() as i64,
        )
    }

    /// The sums of each row's list, where it is not empty, added up.
    fn sum_of_lists(&self, list: impl Fn(&R) -> &Vec<i64>) -> Option<i64> {
        self.sum_of_some(|row| list(row).iter().copied().reduce(|sum, value| sum + value))
    }

    fn sum(&self, value: impl Fn(&R) -> i64) -> Option<i64> {
        self.sum_of_some(|row| Some(value(row)))
    }

    /// As SQL adds up: nothing at all where no row has a value.
    fn sum_of_some(&self, value: impl Fn(&R) -> Option<i64>) -> Option<i64> {
        self.rows
            .iter()
            .filter_map(value)
            .reduce(|sum, value| sum + value)
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut entries: Vec<_> = list.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}
