//! From map entries to rows. Pure: time, names and settings come in as arguments.

pub mod books;
pub mod cpu;
pub mod http;
pub mod wire;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use probe_abi::flow::{FlowKey4, FlowKey6, FlowRecord, hook};
use trace_schema::{
    flows::{Direction, FlowRow, NatState},
    ledger::Vantage,
};

use crate::{
    clock::Offset,
    config::{TunnelKind, TunnelPort},
    drain::Drained,
};

/// What every row of an interval shares.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Start, UTC microseconds.
    pub start_us: i64,
    /// End, UTC microseconds.
    pub end_us: i64,
    /// Name of the node.
    pub node: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// From the monotonic clock to UTC.
    pub clock: Offset,
    /// Nanoseconds of a kernel tick.
    pub tick_ns: u64,
    /// Interfaces that are hooked, by index.
    pub interfaces: BTreeMap<u32, Interface>,
    /// UDP ports of tunnels.
    pub tunnel_ports: Vec<TunnelPort>,
}

/// What rows say of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Whether addresses at its egress stand after all NAT.
    pub egress_nat: NatState,
    /// Length of its link header.
    pub link_header_bytes: i32,
    /// Its virtual function.
    pub virtual_function: Option<String>,
}

/// Pod and container of a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Pod UID.
    pub pod_uid: Option<String>,
    /// Container id.
    pub container_id: Option<String>,
}

/// A five-tuple of either family, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    scope: u64,
    hook: u8,
    protocol: u8,
    src: IpAddr,
    dst: IpAddr,
    src_port: u16,
    dst_port: u16,
}

/// The rows of `flows`, in a fixed order.
pub fn flow_rows(
    interval: &Interval,
    drained: &Drained,
    mut owner: impl FnMut(u64) -> Owner,
) -> Vec<FlowRow> {
    let mut rows = Vec::with_capacity(drained.flows4.len() + drained.flows6.len());
    for (key, record) in &drained.flows4 {
        rows.extend(flow_row(interval, Key::of4(key), record, &mut owner));
    }
    for (key, record) in &drained.flows6 {
        rows.extend(flow_row(interval, Key::of6(key), record, &mut owner));
    }
    rows.sort_by(|a, b| order(a).cmp(&order(b)));
    rows
}

fn order(row: &FlowRow) -> impl Ord + '_ {
    (
        (row.first_seen_us, row.vantage, row.direction, row.cgroup_id),
        (
            &row.interface,
            &row.protocol,
            &row.src_address,
            row.src_port,
        ),
        (&row.dst_address, row.dst_port),
    )
}

fn flow_row(
    interval: &Interval,
    key: Key,
    record: &FlowRecord,
    owner: &mut impl FnMut(u64) -> Owner,
) -> Option<FlowRow> {
    let (vantage, direction) = place(key.hook)?;
    let is_pod = vantage == Vantage::Pod;
    let interface = interval
        .interfaces
        .get(&(key.scope as u32))
        .filter(|_| !is_pod);
    let owner = if is_pod {
        owner(key.scope)
    } else {
        Owner::default()
    };
    let sample = |value: u32| (record.tcp_sampled != 0).then_some(i64::from(value));
    Some(FlowRow {
        interval_start_us: interval.start_us,
        interval_end_us: interval.end_us,
        node: interval.node.clone(),
        boot_id: interval.boot_id.clone(),
        vantage,
        nat_state: nat_state(vantage, direction, interface),
        interface: (!is_pod).then(|| interface_name(interface, key.scope as u32)),
        direction,
        pod_uid: owner.pod_uid,
        container_id: owner.container_id,
        cgroup_id: is_pod.then_some(key.scope as i64),
        protocol: protocol_name(key.protocol),
        src_address: key.src.to_string(),
        dst_address: key.dst.to_string(),
        src_port: i32::from(key.src_port),
        dst_port: i32::from(key.dst_port),
        encapsulation: encapsulation(interval, vantage, &key),
        bytes: record.bytes as i64,
        packets: record.packets as i64,
        buffers: record.buffers as i64,
        buffer_bytes: record.buffer_bytes as i64,
        tcp_flags: record.tcp_flags as i32,
        srtt_us: sample(record.srtt_us),
        // The kernel's filter starts at "never", which is no round-trip time.
        min_rtt_us: sample(record.min_rtt_us).filter(|_| record.min_rtt_us != u32::MAX),
        retransmits: sample(record.retransmits),
        cwnd_segments: sample(record.cwnd_segments),
        first_seen_us: interval.clock.utc_us(record.first_ns),
        last_seen_us: interval.last_seen_us(
            record.first_ns,
            record.first_jiffies,
            record.last_jiffies,
        ),
    })
}

impl Interval {
    /// UTC of a tick, from a nearby moment that is known in both clocks.
    pub fn last_seen_us(&self, first_ns: u64, first_jiffies: u32, last_jiffies: u32) -> i64 {
        let ticks = last_jiffies.wrapping_sub(first_jiffies) as i32;
        let ns = first_ns.saturating_add(u64::from(ticks.max(0) as u32) * self.tick_ns);
        self.clock
            .utc_us(ns)
            .min(self.end_us.max(self.clock.utc_us(first_ns)))
    }

    /// The name for an interface index; one that went meanwhile keeps its number.
    pub fn interface_name(&self, index: u32) -> String {
        interface_name(self.interfaces.get(&index), index)
    }
}

fn interface_name(interface: Option<&Interface>, index: u32) -> String {
    interface.map_or_else(|| format!("if{index}"), |known| known.name.clone())
}

impl Key {
    fn of4(key: &FlowKey4) -> Self {
        Self {
            scope: key.scope,
            hook: key.hook,
            protocol: key.protocol,
            src: IpAddr::V4(Ipv4Addr::from(key.src.to_ne_bytes())),
            dst: IpAddr::V4(Ipv4Addr::from(key.dst.to_ne_bytes())),
            src_port: u16::from_be(key.src_port),
            dst_port: u16::from_be(key.dst_port),
        }
    }

    fn of6(key: &FlowKey6) -> Self {
        Self {
            scope: key.scope,
            hook: key.hook,
            protocol: key.protocol,
            src: address(6, key.src),
            dst: address(6, key.dst),
            src_port: u16::from_be(key.src_port),
            dst_port: u16::from_be(key.dst_port),
        }
    }
}

/// An address as the programs write it.
pub fn address(family: u8, words: [u32; 4]) -> IpAddr {
    if family == 4 {
        return IpAddr::V4(Ipv4Addr::from(words[0].to_ne_bytes()));
    }
    let mut bytes = [0; 16];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    IpAddr::V6(Ipv6Addr::from(bytes))
}

/// Vantage and direction of a hook code.
pub fn place(code: u8) -> Option<(Vantage, Direction)> {
    Some(match code {
        hook::POD_EGRESS => (Vantage::Pod, Direction::Egress),
        hook::POD_INGRESS => (Vantage::Pod, Direction::Ingress),
        hook::UPLINK_EGRESS => (Vantage::Uplink, Direction::Egress),
        hook::UPLINK_INGRESS => (Vantage::Uplink, Direction::Ingress),
        hook::TUNNEL_INGRESS => (Vantage::Tunnel, Direction::Ingress),
        _ => return None,
    })
}

fn nat_state(vantage: Vantage, direction: Direction, interface: Option<&Interface>) -> NatState {
    match (vantage, direction) {
        (Vantage::Uplink, Direction::Egress) => {
            interface.map_or(NatState::Undetermined, |known| known.egress_nat)
        }
        _ => NatState::Pre,
    }
}

/// Name of a protocol as the tables write it.
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

/// The tunnel whose outer packet this is; inner packets and pods' own sockets have none.
fn encapsulation(interval: &Interval, vantage: Vantage, key: &Key) -> Option<String> {
    if vantage != Vantage::Uplink {
        return None;
    }
    let name = match key.protocol {
        4 => "ipip",
        41 => "sit",
        47 => "gre",
        17 => {
            let known = interval
                .tunnel_ports
                .iter()
                .find(|known| known.port == key.dst_port)?;
            match known.kind {
                TunnelKind::Vxlan => "vxlan",
                TunnelKind::Geneve => "geneve",
            }
        }
        _ => return None,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
