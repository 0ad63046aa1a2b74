//! One interval after the other: hooks attached, maps drained, rows made.
//!
//! It owns everything that touches the kernel and hands out plain rows; where they go is for
//! [`crate::run`] to say.

mod interfaces;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use anyhow::Context;
use aya_log::EbpfLogger;
use probe_abi::flow::hook;
use trace_schema::{
    cpu::CpuRow, flows::FlowRow, http::HttpRow, ledger::LedgerRow, profile::ProfileRow,
    resources::ResourceRow, snat::SnatRow,
};
use tracing::{info, warn};

use crate::{
    aggregate::{
        Interface, Interval, Owner,
        books::{Edge, Sources, ledger_rows},
        flow_rows,
        http::http_rows,
        wire::WireLog,
    },
    attach::{Hooks, Standing, TcPath},
    cgroups::{self, index::Index},
    clock::{self, Offset},
    config::Config,
    drain::{Maps, cpu::CpuMaps},
    interfaces::{
        follow::Follow,
        netlink::{Counters, Netlink},
    },
    loader::{self, Parameters, ProcessorParameters},
    processors::{Processors, cycles::Cycles, kernel_wide::KernelWideLock},
};

/// Least time between two scans of the cgroup tree that unknown ids ask for.
const LEAST_SCAN_GAP: Duration = Duration::from_millis(200);
/// The kernel's own account of its id since boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The running probe.
pub struct Sampler {
    config: Config,
    boot_id: String,
    tick_ns: u64,
    hooks: Hooks,
    maps: Maps,
    netlink: Netlink,
    follow: Follow,
    cgroups: Index,
    processors: Option<Processors>,
    kernel_wide: KernelWideLock,
    wire_log: WireLog,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    edges: BTreeMap<u32, Edge>,
    interfaces: BTreeMap<u32, Interface>,
    clock: Offset,
    start_us: i64,
    misses: HashMap<u8, u64>,
    /// Interfaces that were hooked in the interval that is open.
    fresh: BTreeSet<u32>,
    /// Who else is in the uplinks' chains, by interface index.
    standings: BTreeMap<u32, Standing>,
    /// Whether the uplinks' hooks look at packets themselves, and the wire hook is off.
    pairs_at_uplink: bool,
    /// Uplinks at which a program may have translated packets after ours looked at them, in the
    /// interval that is open or in the one before.
    doubtful: BTreeSet<u32>,
    machine: crate::machine::Machine,
}

/// What an interval gave.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Start and end of the interval, UTC microseconds.
    pub interval_us: (i64, i64),
    /// Rows of `flows`.
    pub flows: Vec<FlowRow>,
    /// Rows of `http`.
    pub http: Vec<HttpRow>,
    /// Rows of `snat`.
    pub snat: Vec<SnatRow>,
    /// Rows of `cpu`.
    pub cpu: Vec<CpuRow>,
    /// Rows of `resources`.
    pub resources: Vec<ResourceRow>,
    /// Rows of `profile`.
    pub profile: Vec<ProfileRow>,
    /// Rows of `ledger`.
    pub ledger: Vec<LedgerRow>,
}

impl Sampler {
    /// Finds what is not given, loads and attaches. When this returns, packets are being counted.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        // What was asked for and is not there ends the run before anything else is looked for.
        let cycles = config
            .cpu
            .then(|| Cycles::choose(config.cycles))
            .transpose()?;
        let mut netlink = Netlink::open()?;
        let follow = Follow::start(
            config.uplinks.clone(),
            config.tunnels.clone(),
            &netlink.survey()?,
        )?;
        let root = cgroups::root(config.cgroup.as_deref())?;
        let ticks_per_second = ticks_per_second()?;
        let mut parameters = Parameters::new(&config, ticks_per_second)?;
        let counters = cycles.as_ref().map(Cycles::has_counters);
        parameters.processors = counters.map(ProcessorParameters::new);
        let mut ebpf = loader::load_common(&parameters)?;
        let logger = EbpfLogger::init(&mut ebpf)
            .map_err(|error| warn!("messages from the eBPF programs are off: {error}"))
            .ok();
        let maps = Maps::take(&mut ebpf)?;
        let node_root = cgroups::node_root(config.cgroup_root.as_deref(), &root)?;
        let processors = cycles
            .map(|cycles| {
                let maps = CpuMaps::take(&mut ebpf)?;
                Processors::new(&config, cycles, maps, node_root.clone())
            })
            .transpose()?;
        let boot_id = boot_id()?;
        let clock = clock::measure()?;
        let mut sampler = Self {
            hooks: Hooks::new(ebpf, TcPath::of_kernel()),
            cgroups: Index::new(root.clone(), LEAST_SCAN_GAP).with_node(&node_root),
            processors,
            kernel_wide: KernelWideLock::new(config.kernel_wide, config.kernel_wide_lock.clone()),
            wire_log: WireLog::default(),
            tick_ns: 1_000_000_000 / u64::from(ticks_per_second),
            start_us: clock.utc_us(clock::monotonic_ns()?),
            edges: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            misses: HashMap::new(),
            fresh: BTreeSet::new(),
            standings: BTreeMap::new(),
            pairs_at_uplink: false,
            doubtful: BTreeSet::new(),
            config,
            boot_id,
            maps,
            netlink,
            follow,
            logger,
            clock,
            machine: Default::default(),
        };
        if let Some(processors) = &mut sampler.processors {
            processors.prepare(&mut sampler.hooks, sampler.config.measure_self)?;
        }
        // The pods last: whatever is seen before NAT can then be seen behind it.
        for chosen in sampler.follow.chosen().to_vec() {
            sampler.attach(&chosen)?;
        }
        sampler.standings = sampler.standings();
        sampler.choose_where_to_pair()?;
        sampler.refresh_interfaces();
        sampler.hooks.attach_pods(&root)?;
        let writes_kernel_wide = sampler.kernel_wide.is_ours();
        sampler.machine.start(
            &sampler.config,
            &node_root,
            &root,
            &mut sampler.cgroups,
            writes_kernel_wide,
        )?;
        // Last of all: symbols take long to read, and what is charged meanwhile is of no interval.
        if let Some(processors) = &mut sampler.processors {
            processors.start(&mut sampler.hooks)?;
        }
        sampler.start_us = clock.utc_us(clock::monotonic_ns()?);
        info!(cgroup = %root.display(), "pod hooks attached");
        Ok(sampler)
    }

    /// Begins to measure what the probe's own programs cost, where that was asked for: to be called
    /// [`part`](crate::processors::own_cost::part) of an interval before its end.
    pub fn measure_self(&mut self) {
        if let Some(processors) = &mut self.processors
            && let Err(error) = processors.measure_self(&self.hooks)
        {
            warn!(reason = %error.0, "the probe's own programs are not measured in this interval");
        }
    }

    /// Ends the interval that is open and begins the next.
    pub fn close_interval(&mut self) -> anyhow::Result<Sample> {
        self.cgroups.scan(Instant::now());
        let before = self.counters();
        if let Some(processors) = &mut self.processors {
            processors.settle(&mut self.hooks)?;
        }
        let closed = self.maps.flip()?;
        let after = self.counters();
        let now_ns = self.maps.flipped_ns();
        self.measure_clock()?;
        let drained = self.maps.collect(closed)?;
        if drained.orphans > 0 {
            warn!(
                buffers = drained.orphans,
                "front table slots without a flow record"
            );
        }
        let end: BTreeMap<u32, Edge> = after
            .iter()
            .map(|(&index, &after)| {
                (
                    index,
                    Edge {
                        // Without a first reading the counter may have moved since the last one known.
                        before: *before.get(&index).unwrap_or_else(|| {
                            self.edges.get(&index).map_or(&after, |edge| &edge.after)
                        }),
                        after,
                    },
                )
            })
            .collect();
        let doubtful = self.doubt_chains();
        let interval = self.interval(now_ns);
        let wire = self
            .wire_log
            .advance(&interval, now_ns, &drained, &doubtful);
        let spoke_again = self.maps.delete_wire(&wire.over, &drained.wire)?;
        self.wire_log.stay(&spoke_again, now_ns);
        let cgroups = &mut self.cgroups;
        let flows = flow_rows(&interval, &drained, |id| owner(cgroups, id));
        let http = http_rows(&interval, &drained.http, |id| owner(cgroups, id));
        let writes_kernel_wide = self.kernel_wide.is_ours();
        let machine = self
            .machine
            .rows(&interval, &mut self.cgroups, writes_kernel_wide);
        let misses = self.new_misses();
        let mut ledger = ledger_rows(
            &interval,
            &drained,
            &Sources {
                start: &self.edges,
                end: &end,
                hooks: &self.hook_places(),
                fresh: &self.fresh,
                wire_buffers: &wire.buffers,
                doubted: &wire.doubted,
                disagreements: wire.disagreements,
                ring_drops: 0,
                misses: &misses,
                wire_entries: drained.wire.len(),
                capacity: self.config.max_flows,
            },
        );
        let mut cpu = Vec::new();
        if let Some(processors) = &mut self.processors {
            let charged = processors.collect(
                &interval,
                drained.epoch,
                &self.hooks,
                &mut self.cgroups,
                writes_kernel_wide,
            )?;
            cpu = charged.rows;
            ledger.push(charged.ledger);
        }
        self.edges = end;
        self.fresh.clear();
        ledger.extend(machine.ledger);
        self.start_us = interval.end_us;
        // What was counted is handed out whatever becomes of the interfaces.
        if let Err(error) = self.follow_interfaces() {
            warn!("cannot follow the interfaces, will try again: {error:#}");
        }
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        Ok(Sample {
            interval_us: (interval.start_us, interval.end_us),
            flows,
            http,
            snat: wire.rows,
            cpu,
            resources: machine.resources,
            profile: machine.profile,
            ledger,
        })
    }

    /// Detaches from interfaces, which below kernel 6.6 would otherwise outlive the process.
    pub fn stop(&mut self) {
        self.hooks.detach_interfaces();
    }

    /// Whether the wire hook is attached, or the uplinks' hooks look at packets themselves.
    pub fn has_wire(&self) -> bool {
        self.hooks.has_wire()
    }

    /// Hooks that are attached, as (program, interface).
    pub fn attached(&self) -> Vec<(&'static str, String)> {
        self.hooks.attached()
    }

    /// Where cycles come from, and why from there; none where processor time is not charged.
    pub fn cycle_source(&self) -> Option<(&'static str, String)> {
        let cycles = self.processors.as_ref()?.cycles();
        Some((cycles.name(), cycles.reason().to_owned()))
    }

    /// The kernel's counters; none where they cannot be had, and then the books say so.
    fn counters(&mut self) -> BTreeMap<u32, Counters> {
        self.netlink.counters().unwrap_or_else(|error| {
            warn!("no interface counters at the edge of this interval: {error}");
            BTreeMap::new()
        })
    }

    fn interval(&self, now_ns: u64) -> Interval {
        Interval {
            start_us: self.start_us,
            end_us: self.clock.utc_us(now_ns).max(self.start_us),
            node: self.config.node.clone(),
            boot_id: self.boot_id.clone(),
            clock: self.clock,
            tick_ns: self.tick_ns,
            interfaces: self.interfaces.clone(),
            tunnel_ports: self.config.tunnel_ports.clone(),
        }
    }

    fn measure_clock(&mut self) -> anyhow::Result<()> {
        let offset = clock::measure()?;
        if let Some(step_ns) = offset.step_since(&self.clock) {
            warn!(
                step_ns,
                "the machine's clock was set: times of rows before and after differ"
            );
        }
        self.clock = offset;
        Ok(())
    }

    fn new_misses(&mut self) -> HashMap<u8, u64> {
        let mut news = HashMap::new();
        if let Some(total) = self.hooks.misses("wire") {
            let known = self.misses.insert(hook::WIRE, total).unwrap_or_default();
            news.insert(hook::WIRE, total.saturating_sub(known));
        }
        news
    }
}

/// The kernel's boot id: new at each start of the machine.
pub fn boot_id() -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(BOOT_ID).with_context(|| format!("cannot read {BOOT_ID}"))?;
    Ok(text.trim().to_owned())
}

/// Kernel ticks a second. The coarse clock's resolution is the tick (kernel/time/posix-timers.c).
fn ticks_per_second() -> anyhow::Result<u32> {
    let mut tick = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer leads to a timespec.
    let result = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut tick) };
    anyhow::ensure!(
        result == 0 && tick.tv_nsec > 0,
        "the kernel does not tell its tick"
    );
    Ok((1_000_000_000 / tick.tv_nsec) as u32)
}

fn owner(cgroups: &mut Index, id: u64) -> Owner {
    cgroups
        .get(id, Instant::now())
        .map_or_else(Owner::default, |cgroup| Owner {
            pod_uid: cgroup.identity.pod_uid.clone(),
            container_id: cgroup.identity.container_id.clone(),
        })
}
