//! What each program of an eBPF object costs before it runs: instructions, stack, map memory.
//!
//! The figures are read from the object alone, so they are the same on every machine but for
//! per-CPU maps. A program is its entry function and all functions that it can call, each counted
//! once, as the loader links them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, bail};
use aya_obj::generated::bpf_map_type;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use object::read::elf::ElfFile64;
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex,
    SectionKind, SymbolKind,
};

const INSTRUCTION_BYTES: u64 = 8;
/// What a frame is rounded up to before kernel 6.8, whose just-in-time compilers need half of it
/// (`check_max_stack_depth_subprog`, kernel/bpf/verifier.c).
const FRAME_BYTES: u64 = 32;
/// The verifier's limit (`MAX_BPF_STACK`, include/linux/filter.h).
const MOST_STACK_BYTES: u64 = 512;

/// The programs and maps of one object.
#[derive(Debug)]
pub struct Object {
    programs: Vec<Program>,
    maps: BTreeMap<String, Map>,
    cpus: u64,
}

#[derive(Debug)]
struct Program {
    name: String,
    section: String,
    instructions: u64,
    stack_bytes: u64,
    maps: BTreeSet<String>,
}

#[derive(Debug)]
struct Map {
    kind: String,
    key_bytes: u64,
    value_bytes: u64,
    entries: u64,
    memory_bytes: u64,
}

impl Object {
    /// Reads the programs and maps of an object.
    pub fn parse(data: &[u8]) -> anyhow::Result<Self> {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        let object = aya_obj::Object::parse(data).context("not an eBPF object")?;
        let maps = object
            .maps
            .iter()
            .map(|(name, map)| (name.clone(), Map::new(map, cpus)));
        let code = Code::read(data)?;
        Ok(Self {
            programs: code.programs()?,
            maps: maps.collect(),
            cpus,
        })
    }

    /// Fails where a program takes more stack than every kernel gives that the probe is for.
    pub fn check_stack(&self) -> anyhow::Result<()> {
        let deepest = self
            .programs
            .iter()
            .max_by_key(|program| program.stack_bytes);
        match deepest {
            Some(program) if program.stack_bytes > MOST_STACK_BYTES => bail!(
                "{} takes {} bytes of stack, and kernels before 6.8 give {MOST_STACK_BYTES}",
                program.name,
                program.stack_bytes
            ),
            _ => Ok(()),
        }
    }

    /// Programs with their section, instructions, stack and the memory of the maps they use.
    pub fn program_table(&self) -> Table {
        let header = [
            "program",
            "section",
            "instructions",
            "stack bytes",
            "map KiB",
            "maps",
        ];
        let mut table = table(&header, &[2, 3, 4]);
        for program in &self.programs {
            let maps = program.maps.iter().filter_map(|name| self.maps.get(name));
            table.add_row([
                program.name.clone(),
                program.section.clone(),
                program.instructions.to_string(),
                program.stack_bytes.to_string(),
                kib(maps.map(|map| map.memory_bytes).sum()),
                program.maps.iter().cloned().collect::<Vec<_>>().join(" "),
            ]);
        }
        table
    }

    /// Maps with their declared sizes; per-CPU maps for the CPUs of this machine.
    pub fn map_table(&self) -> Table {
        let memory = format!("KiB ({} CPUs)", self.cpus);
        let header = [
            "map",
            "kind",
            "key bytes",
            "value bytes",
            "entries",
            memory.as_str(),
        ];
        let mut table = table(&header, &[2, 3, 4, 5]);
        for (name, map) in &self.maps {
            table.add_row([
                name.clone(),
                map.kind.clone(),
                map.key_bytes.to_string(),
                map.value_bytes.to_string(),
                map.entries.to_string(),
                kib(map.memory_bytes),
            ]);
        }
        let total = self.maps.values().map(|map| map.memory_bytes).sum();
        table.add_row(["total", "", "", "", "", kib(total).as_str()]);
        table
    }
}

impl Map {
    fn new(map: &aya_obj::Map, cpus: u64) -> Self {
        let (key_bytes, value_bytes) = (u64::from(map.key_size()), u64::from(map.value_size()));
        let entries = u64::from(map.max_entries());
        let kind = bpf_map_type::try_from(map.map_type()).ok();
        let memory_bytes = kind.map_or(0, |kind| {
            memory(kind, key_bytes, value_bytes, entries, cpus)
        });
        let kind = kind.map_or_else(|| format!("type {}", map.map_type()), short_name);
        Self {
            kind,
            key_bytes,
            value_bytes,
            entries,
            memory_bytes,
        }
    }
}

fn short_name(kind: bpf_map_type) -> String {
    let name = format!("{kind:?}");
    name.strip_prefix("BPF_MAP_TYPE_")
        .unwrap_or(&name)
        .to_lowercase()
}

/// What the kernel allocates for a map, after `kernel/bpf/hashtab.c`, `arraymap.c` and
/// `ringbuf.c`: hash elements have a header and live in preallocated memory beside their buckets.
fn memory(kind: bpf_map_type, key: u64, value: u64, entries: u64, cpus: u64) -> u64 {
    use bpf_map_type::*;
    const HASH_HEADER: u64 = 48;
    const BUCKET: u64 = 16;
    const POINTER: u64 = 8;
    let (key, value) = (key.next_multiple_of(8), value.next_multiple_of(8));
    let buckets = entries.max(1).next_power_of_two() * BUCKET;
    match kind {
        BPF_MAP_TYPE_ARRAY => entries * value,
        BPF_MAP_TYPE_PERCPU_ARRAY => entries * (POINTER + value * cpus),
        BPF_MAP_TYPE_HASH | BPF_MAP_TYPE_LRU_HASH => {
            buckets + entries * (HASH_HEADER + key + value)
        }
        BPF_MAP_TYPE_PERCPU_HASH | BPF_MAP_TYPE_LRU_PERCPU_HASH => {
            buckets + entries * (HASH_HEADER + key + POINTER + value * cpus)
        }
        BPF_MAP_TYPE_RINGBUF => entries,
        _ => entries * (key + value),
    }
}

/// Index of the section and offset in it.
type Location = (usize, u64);

/// The functions of an object and what they refer to.
struct Code {
    functions: BTreeMap<Location, Function>,
    sections: HashMap<usize, String>,
}

#[derive(Default)]
struct Function {
    name: String,
    instructions: u64,
    stack_bytes: u64,
    calls: BTreeSet<Location>,
    maps: BTreeSet<String>,
}

impl Code {
    fn read(data: &[u8]) -> anyhow::Result<Self> {
        let elf: ElfFile64<'_> = ElfFile64::parse(data)?;
        let mut functions = BTreeMap::new();
        let mut sections = HashMap::new();
        for section in elf
            .sections()
            .filter(|section| section.kind() == SectionKind::Text)
        {
            sections.insert(section.index().0, section.name()?.to_owned());
        }
        for symbol in elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
        {
            let Some(index) = symbol
                .section_index()
                .filter(|index| sections.contains_key(&index.0))
            else {
                continue;
            };
            let bytes = elf
                .section_by_index(index)?
                .data_range(symbol.address(), symbol.size())?;
            let Some(bytes) = bytes else {
                bail!("function {} lies outside its section", symbol.name()?);
            };
            let references = References::read(&elf, index)?;
            let mut function = Function {
                name: symbol.name()?.to_owned(),
                ..Function::default()
            };
            function.scan(bytes, (index.0, symbol.address()), &references);
            functions.insert((index.0, symbol.address()), function);
        }
        Ok(Self {
            functions,
            sections,
        })
    }

    /// Every function outside `.text` is a program.
    fn programs(&self) -> anyhow::Result<Vec<Program>> {
        let mut programs = Vec::new();
        for (location, function) in &self.functions {
            let section = &self.sections[&location.0];
            if section == ".text" {
                continue;
            }
            let mut reached = BTreeSet::new();
            let stack_bytes = self.deepest_stack(*location, &mut Vec::new(), &mut reached)?;
            let linked = || {
                reached
                    .iter()
                    .filter_map(|location| self.functions.get(location))
            };
            programs.push(Program {
                name: function.name.clone(),
                section: section.clone(),
                instructions: linked().map(|function| function.instructions).sum(),
                stack_bytes,
                maps: linked()
                    .flat_map(|function| function.maps.clone())
                    .collect(),
            });
        }
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(programs)
    }

    /// Bytes of stack along the deepest chain of calls, as the verifier rounds them; collects the
    /// functions on the way.
    fn deepest_stack(
        &self,
        location: Location,
        chain: &mut Vec<Location>,
        reached: &mut BTreeSet<Location>,
    ) -> anyhow::Result<u64> {
        let Some(function) = self.functions.get(&location) else {
            bail!(
                "a call leads to no function, section {} offset {}",
                location.0,
                location.1
            );
        };
        if chain.contains(&location) {
            bail!("{} calls itself", function.name);
        }
        reached.insert(location);
        chain.push(location);
        let mut deepest = 0;
        for &callee in &function.calls {
            deepest = deepest.max(self.deepest_stack(callee, chain, reached)?);
        }
        chain.pop();
        Ok(function.stack_bytes.max(1).next_multiple_of(FRAME_BYTES) + deepest)
    }
}

/// What the relocations of one code section point at, by offset.
struct References {
    maps: HashMap<u64, String>,
    code: HashMap<u64, Location>,
}

impl References {
    fn read(elf: &ElfFile64<'_>, index: SectionIndex) -> anyhow::Result<Self> {
        let mut references = Self {
            maps: HashMap::new(),
            code: HashMap::new(),
        };
        for (offset, relocation) in elf.section_by_index(index)?.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                continue;
            };
            let symbol = elf.symbol_by_index(symbol)?;
            let Some(target) = symbol.section_index() else {
                continue;
            };
            let section = elf.section_by_index(target)?;
            if section.kind() == SectionKind::Text {
                references.code.insert(offset, (target.0, symbol.address()));
            } else if matches!(section.name()?, "maps" | ".maps") {
                references.maps.insert(offset, symbol.name()?.to_owned());
            } else {
                // Constants and globals are one map a section, named after it.
                references.maps.insert(offset, section.name()?.to_owned());
            }
        }
        Ok(references)
    }
}

impl Function {
    /// Reads the instructions (`Documentation/bpf/standardization/instruction-set.rst`).
    fn scan(&mut self, bytes: &[u8], start: Location, references: &References) {
        const FRAME_POINTER: u8 = 10;
        const CALL: u8 = 0x85;
        const CALL_LOCAL: u8 = 1;
        const LOAD_IMMEDIATE: u8 = 0x18;
        const COPY_REGISTER: u8 = 0xbf;
        const ADD_IMMEDIATE: u8 = 0x07;
        let (section, address) = start;
        let mut frame_copies = BTreeSet::new();
        for (position, instruction) in bytes.chunks_exact(8).enumerate() {
            let offset = address + position as u64 * INSTRUCTION_BYTES;
            let (code, registers) = (instruction[0], instruction[1]);
            let (destination, source) = (registers & 0xf, registers >> 4);
            let displacement = i64::from(i16::from_le_bytes([instruction[2], instruction[3]]));
            let immediate = i32::from_le_bytes([
                instruction[4],
                instruction[5],
                instruction[6],
                instruction[7],
            ]);
            self.instructions += 1;
            let base = if code & 7 == 1 { source } else { destination };
            if matches!(code & 7, 1..=3) && base == FRAME_POINTER {
                self.uses_stack(displacement);
            }
            // An address on the stack is made as a copy of the frame pointer plus a constant.
            if code == ADD_IMMEDIATE && frame_copies.contains(&destination) {
                self.uses_stack(i64::from(immediate));
            }
            if code == COPY_REGISTER && source == FRAME_POINTER {
                frame_copies.insert(destination);
            } else {
                frame_copies.remove(&destination);
            }
            let target = references.code.get(&offset);
            if code == CALL && source == CALL_LOCAL {
                let ahead = (i64::from(immediate) + 1) * INSTRUCTION_BYTES as i64;
                let (section, base) = target.copied().unwrap_or((section, offset));
                self.calls
                    .insert((section, base.wrapping_add_signed(ahead)));
            } else if code == LOAD_IMMEDIATE
                && let Some(&(section, base)) = target
            {
                self.calls
                    .insert((section, base.wrapping_add_signed(i64::from(immediate))));
            }
            self.maps.extend(references.maps.get(&offset).cloned());
        }
    }

    fn uses_stack(&mut self, displacement: i64) {
        if displacement < 0 {
            self.stack_bytes = self.stack_bytes.max(displacement.unsigned_abs());
        }
    }
}

fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn kib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1024.0)
}
