//! One interval after the other: hooks attached, maps drained, rows made.
//!
//! It owns everything that touches the kernel and hands out plain rows; where they go is for
//! [`crate::run`] to say.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use anyhow::Context;
use aya_log::EbpfLogger;
use probe_abi::flow::hook;
use trace_schema::{
    cpu::CpuRow,
    flows::{FlowRow, NatState},
    http::HttpRow,
    ledger::LedgerRow,
    profile::ProfileRow,
    resources::ResourceRow,
    snat::SnatRow,
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
    attach::{self, Followers, Hooks, Standing, TcPath},
    cgroups::{self, index::Index},
    clock::{self, Offset},
    config::Config,
    drain::Maps,
    interfaces::{
        Chosen, Role,
        follow::{Change, Follow},
        netlink::{Counters, Netlink},
    },
    loader::{self, Parameters},
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
        let mut netlink = Netlink::open()?;
        let follow = Follow::start(
            config.uplinks.clone(),
            config.tunnels.clone(),
            &netlink.survey()?,
        )?;
        let root = cgroups::root(config.cgroup.as_deref())?;
        let ticks_per_second = ticks_per_second()?;
        let mut ebpf = loader::load(&Parameters::new(&config, ticks_per_second)?)?;
        let logger = EbpfLogger::init(&mut ebpf)
            .map_err(|error| warn!("messages from the eBPF programs are off: {error}"))
            .ok();
        let maps = Maps::take(&mut ebpf)?;
        let boot_id = boot_id()?;
        let clock = clock::measure()?;
        let mut sampler = Self {
            hooks: Hooks::new(ebpf, TcPath::of_kernel()),
            cgroups: Index::new(root.clone(), LEAST_SCAN_GAP),
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
        // The pods last: whatever is seen before NAT can then be seen behind it.
        for chosen in sampler.follow.chosen().to_vec() {
            sampler.attach(&chosen)?;
        }
        sampler.standings = sampler.standings();
        sampler.choose_where_to_pair()?;
        sampler.refresh_interfaces();
        sampler.hooks.attach_pods(&root)?;
        let node_root = cgroups::mount_of(&root)?;
        sampler.machine.start(
            &sampler.config,
            &node_root,
            &root,
            &mut sampler.cgroups,
            true,
        )?;
        sampler.start_us = clock.utc_us(clock::monotonic_ns()?);
        info!(cgroup = %root.display(), "pod hooks attached");
        Ok(sampler)
    }

    /// Ends the interval that is open and begins the next.
    pub fn close_interval(&mut self) -> anyhow::Result<Sample> {
        self.cgroups.scan(Instant::now());
        let before = self.counters();
        let closed = self.maps.flip()?;
        let after = self.counters();
        let now_ns = clock::monotonic_ns()?;
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
                        before: before.get(&index).copied().unwrap_or(after),
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
        self.maps.delete_wire(&wire.over, &drained.wire)?;
        let cgroups = &mut self.cgroups;
        let flows = flow_rows(&interval, &drained, |id| owner(cgroups, id));
        let http = http_rows(&interval, &drained.http, |id| owner(cgroups, id));
        let machine = self.machine.rows(&interval, &mut self.cgroups, true);
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
            cpu: Vec::new(),
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

    fn attach(&mut self, chosen: &Chosen) -> anyhow::Result<()> {
        let index = chosen.link.index;
        let before = self
            .netlink
            .counters()?
            .get(&index)
            .copied()
            .unwrap_or_default();
        self.hooks.attach(chosen)?;
        let after = self
            .netlink
            .counters()?
            .get(&index)
            .copied()
            .unwrap_or(before);
        self.edges.insert(index, Edge { before, after });
        self.fresh.insert(index);
        info!(interface = %chosen.link.name, role = ?chosen.role, "hooks attached");
        Ok(())
    }

    /// Hooks what appeared, forgets what went, and keeps ours at the head of every chain.
    fn follow_interfaces(&mut self) -> anyhow::Result<()> {
        let survey = self.netlink.survey()?;
        for change in self.follow.step(&survey) {
            match change {
                // Attached below, like those that could not be before.
                Change::Appeared(_) => {}
                Change::Gone(chosen) => {
                    info!(interface = %chosen.link.name, "interface gone");
                    self.edges.remove(&chosen.link.index);
                    self.hooks.forget(chosen.link.index);
                }
                Change::Renamed { from, to } => {
                    info!(%from, to = %to.link.name, "interface renamed");
                    self.hooks.rename(to.link.index, &to.link.name);
                }
            }
        }
        for chosen in self.follow.chosen().to_vec() {
            if !self.hooks.is_attached(chosen.link.index)
                && let Err(error) = self.attach(&chosen)
            {
                warn!("cannot follow {}: {error:#}", chosen.link.name);
            }
        }
        for interface in self.hooks.keep_first()? {
            warn!(%interface, "another program had gone before ours; put back at the head");
        }
        // Our own programs' coming and going changes chains too.
        self.standings = self.standings();
        self.choose_where_to_pair()?;
        self.refresh_interfaces();
        Ok(())
    }

    /// Who else is in the uplinks' chains now.
    fn standings(&mut self) -> BTreeMap<u32, Standing> {
        let uplinks = self.follow.chosen().iter();
        let uplinks = uplinks.filter(|chosen| chosen.role == Role::Uplink);
        let indices = uplinks.map(|chosen| chosen.link.index).collect::<Vec<_>>();
        let standing = |index| {
            // Legacy filters run behind tcx programs as well.
            let filters = self.netlink.has_other_egress_filters(index, attach::HANDLE);
            (index, self.hooks.standing(index, filters.unwrap_or(true)))
        };
        indices.into_iter().map(standing).collect()
    }

    /// Uplinks whose addresses, in the interval that was just closed, may not be those that left: a
    /// program came into the chain behind a hook that looked at packets itself. The packets that
    /// were still looked at so after the interval's end are the next one's, which is doubted too.
    fn doubt_chains(&mut self) -> BTreeSet<u32> {
        let now = self.standings();
        let changed = now.iter().filter(|&(index, standing)| {
            let known = self.standings.get(index);
            known.is_some_and(|known| known.followers == Followers::None && known != standing)
        });
        let changed = changed.map(|(&index, _)| index).collect::<BTreeSet<_>>();
        for index in &changed {
            if let Some(interface) = self.interfaces.get_mut(index) {
                warn!(interface = %interface.name, "the programs behind the egress hook changed: what left is not certain");
                interface.egress_nat = NatState::Undetermined;
            }
        }
        let news = if self.pairs_at_uplink {
            changed
        } else {
            BTreeSet::new()
        };
        let carried = std::mem::replace(&mut self.doubtful, news);
        carried.union(&self.doubtful).copied().collect()
    }

    /// Uplinks behind whose egress hook nothing follows see packets as they leave, and the wire hook
    /// may stay off: it costs every packet of the machine something.
    fn choose_where_to_pair(&mut self) -> anyhow::Result<()> {
        let at_uplink = self
            .standings
            .values()
            .all(|standing| standing.followers == Followers::None);
        if !at_uplink {
            self.hooks.attach_wire()?;
        }
        if at_uplink != self.pairs_at_uplink {
            self.maps.pair_at_uplink(at_uplink)?;
            self.pairs_at_uplink = at_uplink;
            info!(at = if at_uplink { "uplink" } else { "wire" }, "pairing");
        }
        if at_uplink {
            self.hooks.detach_wire()?;
        }
        Ok(())
    }

    fn refresh_interfaces(&mut self) {
        let chosen = self.follow.chosen().to_vec();
        self.interfaces = chosen
            .iter()
            .map(|chosen| {
                let standing = self.standings.get(&chosen.link.index);
                let egress_nat = match standing.map(|standing| standing.followers) {
                    Some(Followers::None) => NatState::Post,
                    _ => NatState::Undetermined,
                };
                let interface = Interface {
                    name: chosen.link.name.clone(),
                    egress_nat,
                    link_header_bytes: i32::from(chosen.link.link_header_bytes),
                };
                (chosen.link.index, interface)
            })
            .collect();
    }

    /// Hook codes with the interface index, for the ledger.
    fn hook_places(&self) -> Vec<(u8, u32)> {
        let mut places = vec![(hook::POD_EGRESS, 0), (hook::POD_INGRESS, 0)];
        // A hook that could not be attached has no row: nobody was watching there.
        let watched = |chosen: &&Chosen| self.hooks.is_attached(chosen.link.index);
        for chosen in self.follow.chosen().iter().filter(watched) {
            let index = chosen.link.index;
            match chosen.role {
                Role::Uplink => places.extend([
                    (hook::UPLINK_EGRESS, index),
                    (hook::UPLINK_INGRESS, index),
                    (hook::WIRE, index),
                ]),
                Role::Tunnel => places.push((hook::TUNNEL_INGRESS, index)),
            }
        }
        places
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
