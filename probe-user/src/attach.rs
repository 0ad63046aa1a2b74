//! Attaching the programs: cgroup, interfaces, tracepoint, and keeping them at the head.
//!
//! On tc, ours runs first, since nothing runs behind a program that returns TC_ACT_OK. From
//! kernel 6.6 that is a tcx link at the chain's head; below, a netlink filter of priority 1 with a
//! handle of our own on the clsact qdisc, which may be the CNI's and is never deleted. Other
//! programs' filters are never touched.

pub mod calling;
pub mod cpu;

use std::{collections::BTreeMap, fs::File, os::fd::AsFd, path::Path};

use anyhow::Context;
use aya::{
    Ebpf,
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, Link, LinkOrder,
        SchedClassifier, TcAttachType,
        tc::{
            NlOptions, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions, TcHandle,
            qdisc_add_clsact,
        },
        tp_btf::BtfTracePointLinkId,
    },
    util::KernelVersion,
};

use crate::{
    interfaces::{
        Chosen, Role,
        netlink::{
            Netlink,
            filters::{Filter, Side},
        },
    },
    loader::{classifier, program},
    syscall::{BPF_TCX_EGRESS, BPF_TCX_INGRESS, recursion_misses, tcx_chain},
};

/// Priority of our filter where tcx is not to be had: the first.
const PRIORITY: u16 = 1;
/// Handle of our filter: "wb" in ASCII, so that a later start knows its own.
pub const HANDLE: u16 = 0x7762;

/// How programs come to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcPath {
    /// tcx links, which go with the process.
    Tcx,
    /// Filters on the clsact qdisc, which stay until they are taken off.
    Netlink,
}

impl TcPath {
    /// The running kernel's: tcx came with 6.6.
    pub fn of_kernel() -> Self {
        match KernelVersion::current() {
            Ok(kernel) if kernel >= KernelVersion::new(6, 6, 0) => Self::Tcx,
            _ => Self::Netlink,
        }
    }
}

/// The hooks that are attached.
pub struct Hooks {
    ebpf: Ebpf,
    wire: Option<BtfTracePointLinkId>,
    attached: BTreeMap<u32, Attached>,
    path: TcPath,
}

struct Attached {
    interface: String,
    links: Vec<(&'static str, SchedClassifierLinkId)>,
}

/// Interfaces on which hooks had to be put back at the head, and how that went.
pub type Moved = BTreeMap<String, anyhow::Result<()>>;

/// Who else is in an uplink's egress chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Behind ours.
    pub followers: Followers,
    /// The chain's revision, where the kernel keeps one: it tells of a program that came and went.
    pub revision: Option<u64>,
}

/// Whether programs run behind ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followers {
    /// No program runs behind ours.
    None,
    /// Others do.
    Some,
    /// The chain cannot be asked.
    Unknown,
}

impl Hooks {
    /// Takes the loaded programs; nothing is attached yet.
    pub fn new(ebpf: Ebpf, path: TcPath) -> Self {
        Self {
            ebpf,
            wire: None,
            attached: BTreeMap::new(),
            path,
        }
    }

    /// Attaches the pod hooks to the cgroup below which the pods live.
    pub fn attach_pods(&mut self, cgroup: &Path) -> anyhow::Result<()> {
        let directory = File::open(cgroup)
            .with_context(|| format!("cannot open the cgroup {}", cgroup.display()))?;
        for (name, kind) in [
            ("pod_egress", CgroupSkbAttachType::Egress),
            ("pod_ingress", CgroupSkbAttachType::Ingress),
        ] {
            // `Single` means: no flags. Links are multi whatever they say, and refuse flags.
            program::<CgroupSkb>(&mut self.ebpf, name)?
                .attach(&directory, kind, CgroupAttachMode::Single)
                .with_context(|| format!("cannot attach {name} to {}", cgroup.display()))?;
        }
        Ok(())
    }

    /// Attaches the wire hook, which looks at what the uplinks' hooks ask for.
    pub fn attach_wire(&mut self) -> anyhow::Result<()> {
        if self.wire.is_none() {
            let link = program::<BtfTracePoint>(&mut self.ebpf, "wire")?
                .attach()
                .context("cannot attach to the tracepoint net_dev_queue")?;
            self.wire = Some(link);
        }
        Ok(())
    }

    /// Whether the wire hook is attached.
    pub fn has_wire(&self) -> bool {
        self.wire.is_some()
    }

    /// Takes the wire hook off, which costs every packet of the machine something.
    pub fn detach_wire(&mut self) -> anyhow::Result<()> {
        if let Some(link) = self.wire.take() {
            program::<BtfTracePoint>(&mut self.ebpf, "wire")?
                .detach(link)
                .context("cannot detach from the tracepoint net_dev_queue")?;
        }
        Ok(())
    }

    /// Attaches the hooks of one interface.
    pub fn attach(&mut self, chosen: &Chosen) -> anyhow::Result<()> {
        let link = &chosen.link;
        let programs: &[(&str, TcAttachType)] = match (chosen.role, link.link_header_bytes > 0) {
            (Role::Uplink, true) => &[
                ("uplink_ingress", TcAttachType::Ingress),
                ("uplink_egress", TcAttachType::Egress),
            ],
            (Role::Uplink, false) => &[
                ("uplink_ingress_l3", TcAttachType::Ingress),
                ("uplink_egress_l3", TcAttachType::Egress),
            ],
            (Role::Tunnel, true) => &[("tunnel_ingress", TcAttachType::Ingress)],
            (Role::Tunnel, false) => &[("tunnel_ingress_l3", TcAttachType::Ingress)],
        };
        let mut links = Vec::new();
        for &(name, kind) in programs {
            match self.attach_classifier(&link.name, name, kind) {
                Ok(id) => links.push((name, id)),
                Err(error) => {
                    // Half an interface would be counted and stand in no books.
                    let interface = link.name.clone();
                    self.drop_links(Attached { interface, links });
                    return Err(error);
                }
            }
        }
        self.attached.insert(
            link.index,
            Attached {
                interface: link.name.clone(),
                links,
            },
        );
        Ok(())
    }

    /// Forgets an interface that is gone; its hooks went with it.
    pub fn forget(&mut self, index: u32) {
        if let Some(attached) = self.attached.remove(&index) {
            self.drop_links(attached);
        }
    }

    /// Notes an interface's new name.
    pub fn rename(&mut self, index: u32, name: &str) {
        if let Some(attached) = self.attached.get_mut(&index) {
            name.clone_into(&mut attached.interface);
        }
    }

    /// Detaches from every interface. tcx links would go with the process; netlink filters not.
    pub fn detach_interfaces(&mut self) {
        for attached in std::mem::take(&mut self.attached).into_values() {
            self.drop_links(attached);
        }
    }

    /// Programs that run behind ours at an uplink's egress: they may still translate.
    pub fn standing(&self, index: u32, other_filters: bool) -> Standing {
        let unknown = Standing {
            followers: Followers::Unknown,
            revision: None,
        };
        if !self.attached.contains_key(&index) {
            return unknown;
        }
        let of = |others: bool| {
            if others {
                Followers::Some
            } else {
                Followers::None
            }
        };
        if self.path == TcPath::Netlink {
            return Standing {
                followers: of(other_filters),
                revision: None,
            };
        }
        let Ok(chain) = tcx_chain(index, BPF_TCX_EGRESS) else {
            return unknown;
        };
        Standing {
            followers: of(other_filters || chain.programs.len() > 1),
            revision: Some(chain.revision),
        }
    }

    /// Puts ours back at the head where another program went before it, or took it off. Returns the
    /// interfaces on which that was needed, with the error where it could not be done: there all hooks
    /// are off. What passed meanwhile is missing, and the books show it.
    pub fn keep_first(&mut self, netlink: &mut Netlink) -> anyhow::Result<Moved> {
        let mut moved = Moved::new();
        let indices: Vec<u32> = self.attached.keys().copied().collect();
        for index in indices {
            let Some(attached) = self.attached.get_mut(&index) else {
                continue;
            };
            let interface = attached.interface.clone();
            let names: Vec<&'static str> = attached.links.iter().map(|(name, _)| *name).collect();
            for (position, name) in names.into_iter().enumerate() {
                let kind = if name.contains("egress") {
                    TcAttachType::Egress
                } else {
                    TcAttachType::Ingress
                };
                let is_first = match self.path {
                    TcPath::Tcx => self.is_first(index, name, kind),
                    TcPath::Netlink => is_first_filter(netlink, index, kind),
                };
                if is_first {
                    continue;
                }
                // The kernel takes a program only once a chain, and a filter goes before its like only
                // when it is added: the old one has to go first, where it is still there.
                if let Some(attached) = self.attached.get_mut(&index) {
                    let (_, old) = attached.links.remove(position);
                    let _ = program::<SchedClassifier>(&mut self.ebpf, name)?.detach(old);
                }
                match self.attach_classifier(&interface, name, kind) {
                    Ok(id) => {
                        moved.entry(interface.clone()).or_insert(Ok(()));
                        if let Some(attached) = self.attached.get_mut(&index) {
                            attached.links.insert(position, (name, id));
                        }
                    }
                    // All or none: the caller attaches it anew.
                    Err(error) => {
                        moved.insert(interface, Err(error));
                        self.forget(index);
                        break;
                    }
                }
            }
        }
        Ok(moved)
    }

    /// Whether every hook of an interface is attached.
    pub fn is_attached(&self, index: u32) -> bool {
        self.attached.contains_key(&index)
    }

    /// How many hooks are attached, as (program, interface) pairs.
    pub fn attached(&self) -> Vec<(&'static str, String)> {
        self.attached
            .values()
            .flat_map(|attached| {
                attached
                    .links
                    .iter()
                    .map(|(name, _)| (*name, attached.interface.clone()))
            })
            .collect()
    }

    /// Runs of a program that the kernel skipped since it was loaded. The descriptor is the one that
    /// it was loaded with: a program that is asked for by its id takes CAP_SYS_ADMIN.
    pub fn misses(&self, name: &str) -> Option<u64> {
        let descriptor = self.ebpf.program(name)?.fd().ok()?;
        recursion_misses(descriptor.as_fd())
    }

    /// The loaded object, for whoever needs a map of it.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    fn is_first(&self, index: u32, name: &'static str, kind: TcAttachType) -> bool {
        let attach_type = match kind {
            TcAttachType::Egress => BPF_TCX_EGRESS,
            _ => BPF_TCX_INGRESS,
        };
        let Ok(chain) = tcx_chain(index, attach_type) else {
            return true;
        };
        let own = self
            .ebpf
            .program(name)
            .and_then(|ours| ours.info().ok())
            .map(|info| info.id());
        chain.programs.first().copied() == own
    }

    fn attach_classifier(
        &mut self,
        interface: &str,
        name: &'static str,
        kind: TcAttachType,
    ) -> anyhow::Result<SchedClassifierLinkId> {
        let options = match self.path {
            TcPath::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
            TcPath::Netlink => {
                // It fails where clsact is there already, which is as good.
                let _ = qdisc_add_clsact(interface);
                take_off_leftover(interface, kind);
                TcAttachOptions::Netlink(NlOptions {
                    priority: PRIORITY,
                    handle: TcHandle::new(0, HANDLE),
                    ..NlOptions::default()
                })
            }
        };
        classifier(&mut self.ebpf, name)?
            .attach_with_options(interface, kind, options)
            .with_context(|| format!("cannot attach {name} to the interface {interface}"))
    }

    fn drop_links(&mut self, attached: Attached) {
        for (name, id) in attached.links {
            if let Ok(found) = program::<SchedClassifier>(&mut self.ebpf, name) {
                let _ = found.detach(id);
            }
        }
    }
}

/// Takes off the filter that a killed probe left under our handle; mostly there is none.
fn take_off_leftover(interface: &str, kind: TcAttachType) {
    let handle = TcHandle::new(0, HANDLE);
    if let Ok(leftover) = SchedClassifierLink::attached(interface, kind, PRIORITY, handle, None) {
        let _ = leftover.detach();
    }
}

/// Whether the first filter that runs is ours. cls_bpf puts a new filter before those of the same
/// priority (`cls_bpf_change`, net/sched/cls_bpf.c), and nothing runs behind one that lets a packet pass.
fn is_first_filter(netlink: &mut Netlink, index: u32, kind: TcAttachType) -> bool {
    let side = match kind {
        TcAttachType::Egress => Side::Egress,
        _ => Side::Ingress,
    };
    let ours = Filter {
        priority: PRIORITY,
        handle: u32::from(HANDLE),
    };
    match netlink.filters(index, side) {
        Ok(filters) => filters.first() == Some(&ours),
        Err(_) => true,
    }
}
