//! Draining the maps without losing a packet.
//!
//! Programs write to one of two generations. To close an interval, the other generation is named
//! in the control map, and once no program that saw the old name still runs, the old generation
//! has no writer: it is read whole, the per-CPU front tables are added to it, and it is deleted.

mod connections;
pub mod cpu;
mod made;

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    io,
    os::fd::AsFd,
    time::Instant,
};

use anyhow::Context;
use aya::{
    Ebpf, Pod,
    maps::{Array, Map, MapData},
    util::nr_cpus,
};
use probe_abi::{
    flow::{
        FRONT_SIDES, FRONT_SLOTS, FlowKey4, FlowKey6, FlowRecord, GENERATIONS, Slot4, Slot6, Tally,
        made as table,
    },
    http::HttpKey,
    loss::{LossCount, LossKey},
    params::Control,
    wire::{WireKey, WireRecord},
};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use self::{
    connections::Sweep,
    made::{Keys, Made, entries},
};
use crate::{
    clock,
    loader::take_map,
    syscall::{delete_all, lookup_all, put_back, take, wait_for_programs},
};

/// Entries of one generation in a front table.
const FRONT_ROW: u32 = FRONT_SIDES * FRONT_SLOTS;

/// The probe's maps.
pub struct Maps {
    control: Array<MapData, Control>,
    flows4: MapData,
    flows6: MapData,
    front4: MapData,
    front6: MapData,
    losses: MapData,
    wire: MapData,
    /// Wire flows that the map held when it was last read; none where they were many.
    known_wire: Keys<WireKey>,
    made: Made,
    made4: MapData,
    made6: MapData,
    made_wire: MapData,
    responses: MapData,
    connections: MapData,
    streams: MapData,
    sweep: Sweep,
    generation: u32,
    epoch: u32,
    pair_at_uplink: bool,
    flipped_ns: u64,
    cpus: usize,
}

/// What one generation held.
#[derive(Clone, Debug, Default)]
pub struct Drained {
    /// The generation.
    pub generation: u8,
    /// The epoch that ended with it.
    pub epoch: u32,
    /// IPv4 flows.
    pub flows4: HashMap<FlowKey4, FlowRecord>,
    /// IPv6 flows.
    pub flows6: HashMap<FlowKey6, FlowRecord>,
    /// What no flow holds.
    pub losses: Vec<(LossKey, LossCount)>,
    /// HTTP responses.
    pub http: Vec<(HttpKey, u64)>,
    /// Every wire flow that the map holds now, of whatever age.
    pub wire: Vec<(WireKey, WireRecord)>,
    /// Slots whose flow had no record: a defect if it is ever more than zero.
    pub orphans: u64,
}

/// What the front tables need of a slot.
trait Slot: Copy + FromBytes + FromZeros + Immutable + Pod {
    type Key: Copy + Eq + Hash;
    fn key(&self) -> Self::Key;
    fn tally(&self) -> &Tally;
    fn generation(&self) -> u8;
    /// Whether a flow owns the slot, even one that has added nothing since it took it.
    fn is_taken(&self) -> bool;
}

impl Maps {
    /// Takes the maps out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self {
            control: Array::try_from(Map::Array(take_map(ebpf, "CONTROL")?))?,
            flows4: take_map(ebpf, "FLOWS4")?,
            flows6: take_map(ebpf, "FLOWS6")?,
            front4: take_map(ebpf, "FRONT4")?,
            front6: take_map(ebpf, "FRONT6")?,
            losses: take_map(ebpf, "LOSSES")?,
            wire: take_map(ebpf, "WIRE")?,
            known_wire: Keys::These(Vec::new()),
            made: Made::take(ebpf)?,
            made4: take_map(ebpf, "MADE4")?,
            made6: take_map(ebpf, "MADE6")?,
            made_wire: take_map(ebpf, "MADE_WIRE")?,
            responses: take_map(ebpf, "RESPONSES")?,
            connections: take_map(ebpf, "CONNECTIONS")?,
            streams: take_map(ebpf, "STREAMS")?,
            sweep: Sweep::default(),
            generation: 0,
            epoch: 0,
            pair_at_uplink: false,
            flipped_ns: 0,
            cpus: nr_cpus()
                .map_err(|(_, error)| error)
                .context("possible CPUs")?,
        })
    }

    /// Closes the current generation and returns its number. Programs write to the other one from
    /// here on; none still writes to the closed one.
    pub fn flip(&mut self) -> anyhow::Result<u8> {
        let closed = self.generation;
        self.generation = (closed + 1) % GENERATIONS;
        self.epoch = self.epoch.wrapping_add(1);
        self.tell()?;
        self.flipped_ns = clock::monotonic_ns().context("cannot read the clock")?;
        wait_for_programs();
        Ok(closed as u8)
    }

    /// When the last flip told programs to write to the other generation: the interval's end. The
    /// wait for those that had not heard of it belongs to the next.
    pub fn flipped_ns(&self) -> u64 {
        self.flipped_ns
    }

    /// Says whether uplinks' egress hooks look at packets themselves or ask the wire hook.
    pub fn pair_at_uplink(&mut self, at_uplink: bool) -> anyhow::Result<()> {
        self.pair_at_uplink = at_uplink;
        self.tell()
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        let control = Control {
            generation: self.generation,
            epoch: self.epoch,
            pair_at_uplink: u32::from(self.pair_at_uplink),
        };
        self.control
            .set(0, control, 0)
            .context("cannot write the control record")
    }

    /// Reads and deletes a closed generation, and reads the wire flows.
    pub fn collect(&mut self, closed: u8) -> anyhow::Result<Drained> {
        let mut drained = Drained {
            generation: closed,
            epoch: self.epoch.wrapping_sub(1),
            ..Drained::default()
        };
        let keys = self.made.keys(table::FLOWS4, &self.made4, closed)?;
        let (flows, orphans) = collect_family::<FlowKey4, Slot4>(
            &self.flows4,
            &keys,
            &self.front4,
            closed,
            self.cpus,
            |key| key.generation,
        )
        .context("cannot drain IPv4 flows")?;
        drained.flows4 = flows;
        drained.orphans += orphans;
        let keys = self.made.keys(table::FLOWS6, &self.made6, closed)?;
        let (flows, orphans) = collect_family::<FlowKey6, Slot6>(
            &self.flows6,
            &keys,
            &self.front6,
            closed,
            self.cpus,
            |key| key.generation,
        )
        .context("cannot drain IPv6 flows")?;
        drained.flows6 = flows;
        drained.orphans += orphans;
        drained.losses = closed_entries::<LossKey, LossCount>(&self.losses, &Keys::Many, |key| {
            key.generation == closed
        })
        .context("cannot drain the loss counters")?;
        let responses = match self.made.count(table::RESPONSES, closed)? {
            0 => Keys::These(Vec::new()),
            _ => Keys::Many,
        };
        drained.http = closed_entries::<HttpKey, u64>(&self.responses, &responses, |key| {
            key.generation == closed
        })
        .context("cannot drain the HTTP responses")?;
        // What is left in the map costs memory and no count: the next look is soon enough.
        if let Err(error) = self
            .sweep
            .run(&self.connections, &self.streams, Instant::now())
        {
            tracing::warn!(%error, "cannot look through the HTTP connections");
        }
        drained.wire = self.wire_flows(closed)?;
        self.made.reset(closed)?;
        Ok(drained)
    }

    /// Every wire flow that the map holds, but for those that a program makes meanwhile. One that
    /// began before the flip may have noted its flow with the generation that is open now.
    fn wire_flows(&mut self, closed: u8) -> anyhow::Result<Vec<(WireKey, WireRecord)>> {
        let noted = |generation| {
            self.made
                .keys::<WireKey>(table::WIRE, &self.made_wire, generation)
        };
        let keys = match (
            &self.known_wire,
            noted(closed)?,
            noted(self.generation as u8)?,
        ) {
            (Keys::These(known), Keys::These(before), Keys::These(since)) => {
                // A flow that was deleted and made again is in more than one of them.
                let keys: HashSet<WireKey> =
                    known.iter().copied().chain(before).chain(since).collect();
                Keys::These(keys.into_iter().collect())
            }
            _ => Keys::Many,
        };
        let found: Vec<(WireKey, WireRecord)> =
            entries(&self.wire, &keys).context("cannot read the wire flows")?;
        self.known_wire = if found.len() <= table::KEPT as usize {
            Keys::These(found.iter().map(|(key, _)| *key).collect())
        } else {
            Keys::Many
        };
        Ok(found)
    }

    /// Deletes wire flows that are over. One that has spoken since `read` stays; returns those with
    /// their buffers at that reading.
    pub fn delete_wire(
        &self,
        over: &[WireKey],
        read: &[(WireKey, WireRecord)],
    ) -> anyhow::Result<Vec<(WireKey, u64)>> {
        if over.is_empty() {
            return Ok(Vec::new());
        }
        let then: HashMap<WireKey, u64> = read
            .iter()
            .map(|(key, record)| (*key, record.buffers))
            .collect();
        let map = self.wire.fd().as_fd();
        let mut spoke_again = Vec::new();
        for key in over {
            let last: Option<WireRecord> = take(map, key).context("cannot delete wire flows")?;
            let (Some(last), Some(&buffers)) = (last, then.get(key)) else {
                continue;
            };
            if last.buffers == buffers {
                continue;
            }
            // Unless it has begun anew within these two calls: then that stays.
            if put_back(map, key, &last).context("cannot keep a wire flow")? {
                spoke_again.push((*key, buffers));
            }
        }
        Ok(spoke_again)
    }
}

/// Entries of a hash that belong to the closed generation, deleted once they are read.
fn closed_entries<K, V>(
    map: &MapData,
    keys: &Keys<K>,
    is_closed: impl Fn(&K) -> bool,
) -> io::Result<Vec<(K, V)>>
where
    K: FromBytes + IntoBytes + Immutable + Copy,
    V: FromBytes + Clone,
{
    let mut found: Vec<(K, V)> = entries(map, keys)?;
    found.retain(|(key, _)| is_closed(key));
    let keys: Vec<K> = found.iter().map(|(key, _)| *key).collect();
    delete_all(map.fd().as_fd(), &keys)?;
    Ok(found)
}

fn collect_family<K, S>(
    flows: &MapData,
    keys: &Keys<K>,
    front: &MapData,
    closed: u8,
    cpus: usize,
    generation_of: impl Fn(&K) -> u8,
) -> anyhow::Result<(HashMap<K, FlowRecord>, u64)>
where
    K: FromBytes + IntoBytes + Immutable + Copy + Eq + Hash,
    S: Slot<Key = K>,
{
    let of_closed = |key: &K| generation_of(key) == closed;
    let mut found: HashMap<K, FlowRecord> = closed_entries(flows, keys, of_closed)?
        .into_iter()
        .collect();
    // A slot goes to a flow that has a record, and most nodes know one address family alone.
    if found.is_empty() {
        return Ok((found, 0));
    }
    let orphans = add_front::<S>(&mut found, front, closed, cpus)?;
    Ok((found, orphans))
}

/// Adds the front tables' slots to the records, and empties them.
fn add_front<S: Slot>(
    found: &mut HashMap<S::Key, FlowRecord>,
    front: &MapData,
    closed: u8,
    cpus: usize,
) -> anyhow::Result<u64> {
    let first = u32::from(closed) * FRONT_ROW;
    let (indices, slots) = lookup_all::<u32, S>(
        front.fd().as_fd(),
        cpus,
        first.checked_sub(1),
        FRONT_ROW as usize,
    )?;
    let mut orphans = 0;
    let mut taken = Vec::new();
    for (index, copies) in indices.iter().zip(slots.chunks_exact(cpus)) {
        // A slot that was left to its flow would swallow the flow's first packets when this
        // generation's turn comes again, and no record would be made for them.
        if copies.iter().any(Slot::is_taken) {
            taken.push(*index);
        }
        for slot in copies.iter().filter(|slot| slot.tally().buffers > 0) {
            debug_assert_eq!(slot.generation(), closed);
            match found.get_mut(&slot.key()) {
                Some(record) => add_tally(record, slot.tally()),
                None => orphans += slot.tally().buffers,
            }
        }
    }
    clear::<S>(front, &taken, cpus)?;
    Ok(orphans)
}

fn add_tally(record: &mut FlowRecord, tally: &Tally) {
    record.packets += tally.packets;
    record.bytes += tally.bytes;
    record.buffers += tally.buffers;
    record.buffer_bytes += tally.buffer_bytes;
    record.tcp_flags |= tally.tcp_flags;
    if (tally.last_jiffies.wrapping_sub(record.last_jiffies) as i32) > 0 {
        record.last_jiffies = tally.last_jiffies;
    }
}

/// Zeroes slots on every CPU.
fn clear<S: Slot>(front: &MapData, indices: &[u32], cpus: usize) -> anyhow::Result<()> {
    use aya::maps::{PerCpuArray, PerCpuValues};
    // aya's typed view owns its descriptor, so it gets one of its own.
    let copy = MapData::from_fd(front.fd().as_fd().try_clone_to_owned()?)?;
    let mut array: PerCpuArray<MapData, S> = PerCpuArray::try_from(Map::PerCpuArray(copy))?;
    for index in indices {
        let empty = PerCpuValues::try_from(vec![S::new_zeroed(); cpus])
            .context("one slot for each possible CPU")?;
        array
            .set(*index, empty, 0)
            .context("cannot empty a front table")?;
    }
    Ok(())
}

impl Slot for Slot4 {
    type Key = FlowKey4;
    fn key(&self) -> FlowKey4 {
        self.key
    }
    fn tally(&self) -> &Tally {
        &self.tally
    }
    fn generation(&self) -> u8 {
        self.key.generation
    }
    fn is_taken(&self) -> bool {
        self.key.hook != 0
    }
}

impl Slot for Slot6 {
    type Key = FlowKey6;
    fn key(&self) -> FlowKey6 {
        self.key
    }
    fn tally(&self) -> &Tally {
        &self.tally
    }
    fn generation(&self) -> u8 {
        self.key.generation
    }
    fn is_taken(&self) -> bool {
        self.key.hook != 0
    }
}
