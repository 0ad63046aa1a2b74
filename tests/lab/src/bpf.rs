//! The `bpf` datapath: the lab's own tc programs on every node's uplink, as Cilium has it.
//!
//! Routing brings selected pods' packets to the gateway; what happens to their addresses is a
//! matter of each node's maps alone. The programs go with this value: the kernel detaches them when
//! its descriptors close.

use std::collections::BTreeMap;
use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::programs::{SchedClassifier, TcAttachType, tc};
use aya::util::KernelVersion;
use aya::{Ebpf, Pod as PlainBytes};

use crate::cluster::Placement;
use crate::error::LabError;
use crate::place::Place;
use crate::topology::{Family, Node, Pod};

const OBJECT_VARIABLE: &str = "WEIGHBRIDGE_LAB_OBJECT";
const DEFAULT_OBJECT: &str = "target/ebpf/lab.bpf.o";

/// First kernel that attaches tc programs without a queueing discipline.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// The attached programs and their maps, by node.
#[derive(Debug)]
pub(crate) struct BpfDatapath {
    object: PathBuf,
    nodes: BTreeMap<String, Ebpf>,
}

/// An address as the programs have it: IPv4 as an IPv4-mapped one, in network order.
type Address = [u32; 4];

/// A value of the programs' map of sources; the layout is theirs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SourceRule {
    address: Address,
    mode: u32,
}

// SAFETY: integers without padding; every bit pattern is a value.
unsafe impl PlainBytes for SourceRule {}

const MODE_LEAVE: u32 = 0;
const MODE_KEEP_PORT: u32 = 1;
const MODE_RANDOM_PORT: u32 = 2;

impl BpfDatapath {
    /// Loads the object once a node and attaches its programs to the node's uplink.
    pub fn attach(object: Option<&Path>, nodes: &[(&str, &Place)]) -> Result<Self, LabError> {
        let object = match object {
            Some(path) => path.to_owned(),
            None => env::var_os(OBJECT_VARIABLE).map_or_else(default_object, PathBuf::from),
        };
        let bytes = std::fs::read(&object)
            .map_err(|error| unusable(&object, &format!("cannot be read: {error}")))?;
        let mut attached = BTreeMap::new();
        for (name, place) in nodes {
            let ebpf = place
                .namespace()
                .run(|| load_and_attach(&bytes))?
                .map_err(|message| unusable(&object, &message))?;
            attached.insert((*name).to_owned(), ebpf);
        }
        let mut datapath = Self {
            object,
            nodes: attached,
        };
        datapath.fill_cluster()?;
        Ok(datapath)
    }

    /// Gives every node its rules.
    pub fn program(
        &mut self,
        nodes: &[Node],
        pods: &[Pod],
        placement: Option<&Placement>,
        random_ports: bool,
    ) -> Result<(), LabError> {
        let mode = if random_ports {
            MODE_RANDOM_PORT
        } else {
            MODE_KEEP_PORT
        };
        for node in nodes {
            let mut rules = Vec::new();
            for family in [Family::V4, Family::V6] {
                let (own, length) = own_pods(node, family);
                let address = mapped(node.address.of(family));
                rules.push((mapped_key(own, length), Some(SourceRule { address, mode })));
                for pod in pods.iter().filter(|pod| pod.config.selected) {
                    let source = pod.address.of(family);
                    let length = if family == Family::V4 { 32 } else { 128 };
                    let here = placement.filter(|placement| {
                        placement.family == family && placement.gateway == node.name
                    });
                    let rule = here.map(|placement| match placement.snat {
                        Some(address) => SourceRule {
                            address: mapped(address),
                            mode,
                        },
                        None => SourceRule {
                            address: [0; 4],
                            mode: MODE_LEAVE,
                        },
                    });
                    rules.push((mapped_key(source, length), rule));
                }
            }
            self.replace(node.name, &rules)?;
        }
        Ok(())
    }

    fn replace(
        &mut self,
        node: &str,
        rules: &[(Key<Address>, Option<SourceRule>)],
    ) -> Result<(), LabError> {
        let mut sources = self.map::<SourceRule>(node, "SOURCES")?;
        let mut outcome = Ok(());
        for (key, rule) in rules {
            let changed = match rule {
                Some(rule) => sources.insert(key, rule, 0),
                // A rule that was never there is as good as removed.
                None => sources.remove(key).or(Ok(())),
            };
            outcome = outcome.and(changed);
        }
        outcome.map_err(|error| unusable(&self.object, &format!("map SOURCES: {error}")))
    }

    fn fill_cluster(&mut self) -> Result<(), LabError> {
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        let prefixes: [(IpAddr, u32); 3] = [
            (Ipv4Addr::new(10, 244, 0, 0).into(), 16),
            (Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0).into(), 48),
            // Neighbour discovery of the uplink itself.
            (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0).into(), 16),
        ];
        for name in names {
            let mut cluster = self.map::<u32>(&name, "CLUSTER")?;
            let mut outcome = Ok(());
            for (address, length) in prefixes {
                outcome = outcome.and(cluster.insert(&mapped_key(address, length), 1, 0));
            }
            outcome.map_err(|error| unusable(&self.object, &format!("map CLUSTER: {error}")))?;
        }
        Ok(())
    }

    fn map<V: PlainBytes>(
        &mut self,
        node: &str,
        name: &str,
    ) -> Result<LpmTrie<&mut aya::maps::MapData, Address, V>, LabError> {
        let object = self.object.clone();
        let error = |message: String| unusable(&object, &format!("map {name}: {message}"));
        let map = self
            .nodes
            .get_mut(node)
            .and_then(|ebpf| ebpf.map_mut(name))
            .ok_or_else(|| error("is not there".to_owned()))?;
        LpmTrie::try_from(map).map_err(|source| error(source.to_string()))
    }
}

fn load_and_attach(bytes: &[u8]) -> Result<Ebpf, String> {
    let text = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let mut ebpf = Ebpf::load(bytes).map_err(|error| text(&error))?;
    if KernelVersion::current().is_ok_and(|current| current < TCX) {
        tc::qdisc_add_clsact("eth0").map_err(|error| text(&error))?;
    }
    for (name, direction) in [
        ("lab_egress", TcAttachType::Egress),
        ("lab_ingress", TcAttachType::Ingress),
    ] {
        let program: &mut SchedClassifier = ebpf
            .program_mut(name)
            .ok_or_else(|| format!("has no program {name}"))?
            .try_into()
            .map_err(|error: aya::programs::ProgramError| text(&error))?;
        program.load().map_err(|error| text(&error))?;
        program
            .attach("eth0", direction)
            .map_err(|error| text(&error))?;
    }
    Ok(ebpf)
}

fn own_pods(node: &Node, family: Family) -> (IpAddr, u32) {
    match family {
        Family::V4 => (Ipv4Addr::new(10, 244, node.index, 0).into(), 24),
        Family::V6 => (
            Ipv6Addr::new(0xfd00, 0x10, 0x244, node.index.into(), 0, 0, 0, 0).into(),
            64,
        ),
    }
}

fn mapped_key(address: IpAddr, length: u32) -> Key<Address> {
    let length = if address.is_ipv4() {
        length + 96
    } else {
        length
    };
    Key::new(length, mapped(address))
}

fn mapped(address: IpAddr) -> Address {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}

fn default_object() -> PathBuf {
    // tests/lab lies two levels below the workspace's root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.unwrap_or(Path::new(".")).join(DEFAULT_OBJECT)
}

fn unusable(object: &Path, message: &str) -> LabError {
    LabError::Object {
        path: object.to_owned(),
        message: message.to_owned(),
    }
}
