//! Kernel functions by address: `/proc/kallsyms`, and what the kernel reports since.
//!
//! eBPF programs come and go, and the events report each with its length; modules do not. An address
//! behind the last function that begins before it, by more than a function can be long, has no name.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};

const KALLSYMS: &str = "/proc/kallsyms";
const KPTR_RESTRICT: &str = "/proc/sys/kernel/kptr_restrict";
/// No function of the kernel proper or of an eBPF program is longer.
const LONGEST_FUNCTION: u64 = 1 << 20;
/// No function of a module is longer.
const LONGEST_OF_A_MODULE: u64 = 1 << 16;
/// One page holds a trampoline.
const LONGEST_TRAMPOLINE: u64 = 1 << 12;

/// Whether the kernel shows its symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// It does.
    Shown,
    /// Not without CAP_SYSLOG.
    NeedsSyslog,
    /// To nobody (sysctl kernel.kptr_restrict=2).
    Restricted,
    /// There is no list.
    Unreadable,
}

/// Functions by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// By address.
    listed: Vec<Function>,
    names: String,
    /// What was reported since, by address: where it ends, and its name.
    reported: BTreeMap<u64, (u64, String)>,
    /// Listed functions that are gone.
    gone: HashSet<u64>,
    visibility: Option<Visibility>,
    /// Whether eBPF programs are listed (sysctl net.core.bpf_jit_kallsyms).
    lists_programs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    start: u64,
    longest: u64,
    name_at: u32,
    name_length: u16,
}

/// Whether `/proc/kallsyms` shows addresses to this process.
pub fn visibility() -> Visibility {
    let Ok(file) = File::open(KALLSYMS) else {
        return Visibility::Unreadable;
    };
    let shows = |line: String| {
        line.split(' ')
            .next()
            .is_some_and(|address| !is_zero(address))
    };
    let mut lines = BufReader::new(file).lines().map_while(Result::ok);
    // Per-CPU symbols begin at zero on some architectures.
    if lines.by_ref().take(1 << 16).any(shows) {
        return Visibility::Shown;
    }
    match fs::read_to_string(KPTR_RESTRICT) {
        Ok(text) if text.trim() == "2" => Visibility::Restricted,
        _ => Visibility::NeedsSyslog,
    }
}

impl Symbols {
    /// Reads the kernel's list.
    pub fn read() -> Self {
        let visibility = visibility();
        let mut symbols = match (visibility, File::open(KALLSYMS)) {
            (Visibility::Shown, Ok(file)) => {
                Self::of_lines(BufReader::new(file).lines().map_while(Result::ok))
            }
            _ => Self::default(),
        };
        symbols.visibility = Some(visibility);
        symbols
    }

    /// Reads the list again.
    pub fn reread(&mut self) {
        let before = std::mem::replace(self, Self::read());
        self.keep_reported(before.reported);
    }

    /// What was reported counts before the list, which knows no lengths, as long as the list does not
    /// contradict it: a report that something went may have been lost.
    fn keep_reported(&mut self, mut reported: BTreeMap<u64, (u64, String)>) {
        if self.lists_programs {
            reported.retain(|start, (_, name)| self.name(*start) == Some(name.as_str()));
        }
        self.reported = reported;
    }

    /// From lines such as `ffffffff81000000 T _stext` and `ffffffffc0201000 t name\t[module]`.
    pub fn of_lines(lines: impl Iterator<Item = String>) -> Self {
        let mut symbols = Self::default();
        for line in lines {
            symbols.list(&line);
        }
        // Stable, so that of several names for an address the first of the best stays first.
        let names = std::mem::take(&mut symbols.names);
        let standing = |function: &Function| {
            let at = function.name_at as usize;
            is_mark(&names[at..at + usize::from(function.name_length)])
        };
        let by_address = |function: &Function| (function.start, standing(function));
        symbols.listed.sort_by_key(by_address);
        symbols.listed.dedup_by_key(|function| function.start);
        symbols.names = names;
        symbols
    }

    /// Whether names can be had.
    pub fn visibility(&self) -> Visibility {
        self.visibility.unwrap_or(Visibility::Shown)
    }

    /// As where the kernel shows nothing.
    #[cfg(test)]
    pub(super) fn hide(&mut self, visibility: Visibility) {
        self.visibility = Some(visibility);
    }

    /// The function at an address.
    pub fn name(&self, address: u64) -> Option<&str> {
        if let Some((_, (end, name))) = self.reported.range(..=address).next_back()
            && address < *end
        {
            return Some(name);
        }
        let behind = self
            .listed
            .partition_point(|function| function.start <= address);
        let function = self.listed[..behind].last()?;
        let is_inside = address - function.start < function.longest;
        let at = function.name_at as usize;
        (is_inside && !self.gone.contains(&function.start))
            .then(|| &self.names[at..at + usize::from(function.name_length)])
    }

    /// A function that appeared.
    pub fn add(&mut self, start: u64, length: u64, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        let name = name.trim_end_matches('\0').replace(';', ":");
        self.gone.remove(&start);
        self.reported
            .insert(start, (start.saturating_add(length), name));
    }

    /// A function that went.
    pub fn remove(&mut self, start: u64) {
        if self.reported.remove(&start).is_none() {
            self.gone.insert(start);
        }
    }

    fn list(&mut self, line: &str) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(start), Some(kind), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        let is_function = matches!(kind, "t" | "T" | "w" | "W");
        let start = u64::from_str_radix(start, 16).unwrap_or(0);
        let room = u32::try_from(self.names.len()).ok();
        let (Some(name_at), Ok(name_length)) = (room, u16::try_from(name.len())) else {
            return;
        };
        if !is_function || start == 0 {
            return;
        }
        let module = fields.next();
        self.lists_programs |= module == Some("[bpf]");
        self.names.push_str(name);
        self.listed.push(Function {
            start,
            longest: match module {
                None | Some("[bpf]") => LONGEST_FUNCTION,
                Some(module) if module.starts_with("[__builtin__") => LONGEST_TRAMPOLINE,
                Some(_) => LONGEST_OF_A_MODULE,
            },
            name_at,
            name_length,
        });
    }
}

fn is_zero(address: &str) -> bool {
    address.bytes().all(|byte| byte == b'0')
}

/// Names that linkers and compilers give to a place where a function begins as well.
fn is_mark(name: &str) -> bool {
    name.starts_with("__pfx_")
        || name.starts_with("__cfi_")
        || name.ends_with("_start")
        || name.ends_with("_end")
        || matches!(name, "_stext" | "_text")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 T _stext\n\
        ffffffff81000000 t first\n\
        ffffffff81000040 T __softirqentry_text_start\n\
        ffffffff81000040 T __do_softirq\n\
        ffffffff81000100 D some_data\n\
        ffffffff81000200 W weak_function\n\
        ffffffffc0000000 t of_a_module\t[nf_nat]\n\
        ffffffffc0100000 t bpf_prog_6deef7357e7b4530_lab_egress\t[bpf]\n\
        ffffffffc0201000 t ftrace_trampoline\t[__builtin__ftrace]\n";

    fn check(symbols: &Symbols, address: u64, expected: Option<&str>) {
        assert_eq!(symbols.name(address), expected, "{address:x}");
    }

    fn listed() -> Symbols {
        Symbols::of_lines(LIST.lines().map(str::to_owned))
    }

    #[test]
    fn an_address_belongs_to_the_function_that_begins_before_it() {
        let symbols = listed();
        check(&symbols, 0xffffffff80ffffff, None);
        check(&symbols, 0xffffffff81000000, Some("first"));
        check(&symbols, 0xffffffff8100003f, Some("first"));
        check(&symbols, 0xffffffff81000041, Some("__do_softirq"));
        check(&symbols, 0xffffffff81000210, Some("weak_function"));
        check(&symbols, 0xffffffffc0000010, Some("of_a_module"));
        check(&symbols, 0xffffffffc0010000, None);
        check(
            &symbols,
            0xffffffffc0100020,
            Some("bpf_prog_6deef7357e7b4530_lab_egress"),
        );
        check(&symbols, 0xffffffffc0201ff0, Some("ftrace_trampoline"));
        check(&symbols, 0xffffffffc0202000, None);
        check(&Symbols::default(), 0xffffffff81000000, None);
    }

    #[test]
    fn programs_that_come_and_go_are_followed() {
        let mut symbols = listed();
        symbols.add(0xffffffffc0100100, 0x80, b"bpf_prog_0011223344556677_late");
        check(
            &symbols,
            0xffffffffc010017f,
            Some("bpf_prog_0011223344556677_late"),
        );
        check(
            &symbols,
            0xffffffffc01000ff,
            Some("bpf_prog_6deef7357e7b4530_lab_egress"),
        );
        symbols.remove(0xffffffffc0100000);
        check(&symbols, 0xffffffffc01000ff, None);
        symbols.remove(0xffffffffc0100100);
        check(&symbols, 0xffffffffc010017f, None);
        symbols.add(0xffffffffc0100000, 0x10, b"bpf_prog_8899aabbccddeeff_other");
        check(
            &symbols,
            0xffffffffc0100001,
            Some("bpf_prog_8899aabbccddeeff_other"),
        );
    }

    #[test]
    fn a_new_list_corrects_reports_but_keeps_their_lengths() {
        let mut before = Symbols::default();
        before.add(
            0xffffffffc0100000,
            0x10,
            b"bpf_prog_6deef7357e7b4530_lab_egress",
        );
        before.add(0xffffffffc0100100, 0x10, b"bpf_prog_0011223344556677_gone");
        let mut symbols = listed();
        symbols.keep_reported(before.reported.clone());
        check(
            &symbols,
            0xffffffffc010000f,
            Some("bpf_prog_6deef7357e7b4530_lab_egress"),
        );
        check(
            &symbols,
            0xffffffffc010010f,
            Some("bpf_prog_6deef7357e7b4530_lab_egress"),
        );
        // Where the list names no programs it says nothing of them.
        let mut silent = Symbols::default();
        silent.keep_reported(before.reported);
        check(
            &silent,
            0xffffffffc010010f,
            Some("bpf_prog_0011223344556677_gone"),
        );
    }

    #[test]
    fn hidden_addresses_name_nothing() {
        let hidden = "0000000000000000 T _stext\n0000000000000000 t first\n";
        let symbols = Symbols::of_lines(hidden.lines().map(str::to_owned));
        assert_eq!(symbols, Symbols::default());
    }
}
