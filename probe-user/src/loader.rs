//! Loading the eBPF object: constants in, programs and maps out.

use anyhow::Context;
use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    maps::MapData,
    programs::{BtfTracePoint, CgroupSkb, RawTracePoint, SchedClassifier},
};
use probe_abi::params::TUNNEL_PORTS;

use crate::{
    btf::Offsets,
    config::{Config, TunnelKind, TunnelPort},
};

/// The object, built by `cargo xtask build-ebpf`.
static OBJECT: &[u8] = include_bytes_aligned!(env!("WEIGHBRIDGE_EBPF_OBJECT"));

/// tc programs of the object.
const CLASSIFIERS: [&str; 6] = [
    "uplink_egress",
    "uplink_ingress",
    "tunnel_ingress",
    "uplink_egress_l3",
    "uplink_ingress_l3",
    "tunnel_ingress_l3",
];
/// cgroup_skb programs of the object.
const POD_PROGRAMS: [&str; 2] = ["pod_egress", "pod_ingress"];
/// The tp_btf program, and its tracepoint.
const WIRE: (&str, &str) = ("wire", "net_dev_queue");
/// The tp_btf programs that charge processor time, and their tracepoints.
pub const PROCESSOR_PROGRAMS: [(&str, &str); 3] = [
    ("softirq_exit", "softirq_exit"),
    ("softirq_entry", "softirq_entry"),
    ("cpu_switch", "sched_switch"),
];
/// Programs that are run by test runs and attached nowhere.
const CALLED: [&str; 2] = ["cpu_settle", "cpu_level"];
/// The tc program that does nothing, for [`load_nothing`]: what calling and measuring one takes.
pub const NOTHING_TC: &str = "nothing_tc";
/// The cgroup_skb program that does.
pub const NOTHING_CGROUP: &str = "nothing_cgroup";
/// The tp_btf program that does.
pub const NOTHING_TRACEPOINT: &str = "nothing_tracepoint";
/// Accounts of processor time that fit the map, where nothing else is asked for.
const MAX_ACCOUNTS: u32 = 16_384;

/// What the programs are told, beside the kernel's offsets.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Inode of the network namespace that the probe watches.
    pub netns_inode: u32,
    /// Kernel ticks a second.
    pub ticks_per_second: u32,
    /// Capacity of each flow map.
    pub max_flows: u32,
    /// Whether the pod hooks follow HTTP.
    pub http: bool,
    /// UDP ports of tunnels.
    pub tunnel_ports: Vec<TunnelPort>,
    /// How processor time is charged; absent where it is not.
    pub processors: Option<ProcessorParameters>,
}

/// What the programs that charge processor time are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorParameters {
    /// Whether each CPU has a cycle counter to be read.
    pub counters: bool,
    /// Capacity of the map of accounts.
    pub max_accounts: u32,
}

impl ProcessorParameters {
    /// With room for as many accounts as a node is likely to need.
    pub fn new(counters: bool) -> Self {
        Self {
            counters,
            max_accounts: MAX_ACCOUNTS,
        }
    }
}

impl Parameters {
    /// Of the process's own network namespace.
    pub fn new(config: &Config, ticks_per_second: u32) -> anyhow::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let path = "/proc/thread-self/ns/net";
        let inode = std::fs::metadata(path)
            .with_context(|| format!("cannot read {path}"))?
            .ino();
        Ok(Self {
            netns_inode: u32::try_from(inode).context("network namespace inode")?,
            ticks_per_second,
            max_flows: config.max_flows,
            http: config.http,
            tunnel_ports: config.tunnel_ports.clone(),
            processors: None,
        })
    }
}

/// Loads the object and every program in it. Nothing is attached yet.
pub fn load(parameters: &Parameters) -> anyhow::Result<Ebpf> {
    let mut ebpf = load_common(parameters)?;
    for name in CLASSIFIERS {
        classifier(&mut ebpf, name)?;
    }
    Ok(ebpf)
}

/// Loads the object and the programs that every node needs. The kernel takes long to check a tc
/// program, and few nodes have every kind of interface: [`classifier`] loads those.
pub fn load_common(parameters: &Parameters) -> anyhow::Result<Ebpf> {
    let offsets = Offsets::of_kernel()?;
    let mut ebpf = load_object(OBJECT, parameters, &offsets)?;
    for name in POD_PROGRAMS {
        program::<CgroupSkb>(&mut ebpf, name)?
            .load()
            .with_context(|| format!("the kernel refused the cgroup_skb program {name}"))?;
    }
    let btf = Btf::from_sys_fs().context("cannot read /sys/kernel/btf/vmlinux")?;
    let (name, tracepoint) = WIRE;
    program::<BtfTracePoint>(&mut ebpf, name)?
        .load(tracepoint, &btf)
        .with_context(|| format!("the kernel refused the tracing program {name}"))?;
    if parameters.processors.is_some() {
        for (name, tracepoint) in PROCESSOR_PROGRAMS {
            program::<BtfTracePoint>(&mut ebpf, name)?
                .load(tracepoint, &btf)
                .with_context(|| format!("the kernel refused the tracing program {name}"))?;
        }
        for name in CALLED {
            program::<RawTracePoint>(&mut ebpf, name)?
                .load()
                .with_context(|| format!("the kernel refused the program {name}"))?;
        }
    }
    Ok(ebpf)
}

/// Loads an object's maps, with the constants set; its programs are still to be loaded.
pub fn load_object(
    object: &[u8],
    parameters: &Parameters,
    offsets: &Offsets,
) -> anyhow::Result<Ebpf> {
    load_object_with(object, parameters, offsets, None)
}

/// The same, with one more constant, for objects that have it.
pub fn load_object_with(
    object: &[u8],
    parameters: &Parameters,
    offsets: &Offsets,
    further: Option<(&'static str, &u32)>,
) -> anyhow::Result<Ebpf> {
    anyhow::ensure!(
        !object.is_empty(),
        "this binary was built without its eBPF object: run `cargo xtask build-ebpf` and build again"
    );
    let conntrack = offsets.conntrack;
    let ports = tunnel_port_list(&parameters.tunnel_ports);
    let geneve = geneve_port(&parameters.tunnel_ports);
    let life = fingerprint_life_ticks(parameters.ticks_per_second);
    let zero = 0u32;
    let nfct = conntrack.as_ref().map_or(&zero, |found| &found.skb_nfct);
    let original = conntrack.as_ref().map_or(&zero, |found| &found.original);
    let reply = conntrack.as_ref().map_or(&zero, |found| &found.reply);
    let http = u32::from(parameters.http);
    let processors = parameters.processors;
    let counters = u32::from(processors.is_some_and(|processors| processors.counters));
    let mut loader = EbpfLoader::new();
    loader
        .override_global("NETNS_INODE", &parameters.netns_inode, true)
        .override_global("HTTP_ON", &http, true)
        .override_global("FINGERPRINT_LIFE_TICKS", &life, true)
        .override_global("TUNNEL_PORT_LIST", &ports, true)
        .override_global("GENEVE_PORT", &geneve, true)
        .override_global("SKB_DEV", &offsets.skb_dev, true)
        .override_global("SKB_HEAD", &offsets.skb_head, true)
        .override_global("SKB_DATA", &offsets.skb_data, true)
        .override_global("SKB_LEN", &offsets.skb_len, true)
        .override_global("SKB_DATA_LEN", &offsets.skb_data_len, true)
        .override_global("SKB_NETWORK_HEADER", &offsets.skb_network_header, true)
        .override_global("SKB_NFCT", nfct, true)
        .override_global("DEV_IFINDEX", &offsets.dev_ifindex, true)
        .override_global("DEV_NET", &offsets.dev_net, true)
        .override_global("NET_INUM", &offsets.net_inum, true)
        .override_global("CT_TUPLE_ORIGINAL", original, true)
        .override_global("CT_TUPLE_REPLY", reply, true)
        .override_global("TASK_PID", &offsets.task_pid, true)
        .override_global("TASK_COMM", &offsets.task_comm, true)
        .override_global("CYCLES_ON", &counters, true);
    if let Some((name, value)) = further {
        loader.override_global(name, value, true);
    }
    for map in ["FLOWS4", "FLOWS6", "WIRE", "CONNECTIONS", "RESPONSES"] {
        loader.map_max_entries(map, parameters.max_flows);
    }
    let accounts = processors.map_or(1, |processors| processors.max_accounts);
    loader.map_max_entries("CPU_ACCOUNTS", accounts);
    loader
        .load(object)
        .context("cannot load the eBPF object's maps")
}

/// A program by name and kind.
pub fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    ebpf.program_mut(name)
        .with_context(|| format!("the eBPF object has no program {name}"))?
        .try_into()
        .with_context(|| format!("the eBPF program {name} is of another kind"))
}

/// A tc program by name, loaded if it is not yet.
pub fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut SchedClassifier> {
    let found = program::<SchedClassifier>(ebpf, name)?;
    if found.fd().is_err() {
        found
            .load()
            .with_context(|| format!("the kernel refused the tc program {name}"))?;
    }
    Ok(found)
}

/// Loads the programs that do nothing.
pub fn load_nothing(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    classifier(ebpf, NOTHING_TC)?;
    let refused = |name: &str| format!("the kernel refused the program {name}");
    program::<CgroupSkb>(ebpf, NOTHING_CGROUP)?
        .load()
        .with_context(|| refused(NOTHING_CGROUP))?;
    let btf = Btf::from_sys_fs().context("cannot read /sys/kernel/btf/vmlinux")?;
    program::<BtfTracePoint>(ebpf, NOTHING_TRACEPOINT)?
        .load("softirq_entry", &btf)
        .with_context(|| refused(NOTHING_TRACEPOINT))
}

/// Unloads them again, and detaches what is still attached.
pub fn unload_nothing(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    program::<SchedClassifier>(ebpf, NOTHING_TC)?.unload()?;
    program::<CgroupSkb>(ebpf, NOTHING_CGROUP)?.unload()?;
    program::<BtfTracePoint>(ebpf, NOTHING_TRACEPOINT)?.unload()?;
    Ok(())
}

/// Takes a map's descriptor out of the object.
pub fn take_map(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<MapData> {
    use aya::maps::Map;
    let map = ebpf
        .take_map(name)
        .with_context(|| format!("the eBPF object has no map {name}"))?;
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerfEventArray(data) => Ok(data),
        other => anyhow::bail!("the eBPF map {name} is of an unexpected kind: {other:?}"),
    }
}

fn fingerprint_life_ticks(ticks_per_second: u32) -> u32 {
    (probe_abi::wire::FINGERPRINT_LIFE_NS * u64::from(ticks_per_second) / 1_000_000_000) as u32
}

fn tunnel_port_list(ports: &[TunnelPort]) -> [u16; TUNNEL_PORTS] {
    let mut list = [0; TUNNEL_PORTS];
    for (slot, port) in list.iter_mut().zip(ports) {
        *slot = port.port.to_be();
    }
    list
}

fn geneve_port(ports: &[TunnelPort]) -> u16 {
    ports
        .iter()
        .find(|port| matches!(port.kind, TunnelKind::Geneve))
        .map_or(0, |port| port.port.to_be())
}
