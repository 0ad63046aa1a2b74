//! Where the fields that programs read lie in this kernel's structures, from its BTF.
//!
//! There is no CO-RE from Rust, so offsets are looked up here and handed to the programs as
//! constants. Conntrack may be a module with BTF of its own, or absent: then the second witness is
//! off and everything else works.

mod format;

use std::{fs, io, path::Path};

use self::format::{FormatError, Types};

/// Directory in which the kernel shows its BTF, one file for itself and one for each module.
const SYSFS: &str = "/sys/kernel/btf";

/// Byte offsets that the programs are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `sk_buff.dev`
    pub skb_dev: u32,
    /// `sk_buff.head`
    pub skb_head: u32,
    /// `sk_buff.data`
    pub skb_data: u32,
    /// `sk_buff.len`
    pub skb_len: u32,
    /// `sk_buff.data_len`
    pub skb_data_len: u32,
    /// `sk_buff.network_header`
    pub skb_network_header: u32,
    /// `net_device.ifindex`
    pub dev_ifindex: u32,
    /// `net_device.nd_net.net`
    pub dev_net: u32,
    /// `net.ns.inum`
    pub net_inum: u32,
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.comm`
    pub task_comm: u32,
    /// Conntrack's, where the kernel has it.
    pub conntrack: Option<ConntrackOffsets>,
}

/// Offsets of the second witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConntrackOffsets {
    /// `sk_buff._nfct`
    pub skb_nfct: u32,
    /// `nf_conn.tuplehash[IP_CT_DIR_ORIGINAL].tuple`
    pub original: u32,
    /// `nf_conn.tuplehash[IP_CT_DIR_REPLY].tuple`
    pub reply: u32,
}

/// Why the offsets cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel shows no BTF.
    #[error("cannot read kernel BTF {path}: {source}; the kernel needs CONFIG_DEBUG_INFO_BTF=y")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not BTF as this probe knows it.
    #[error("cannot understand kernel BTF {path}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// A structure or field is not there.
    #[error("this kernel's BTF has no {structure}.{field}: it is not supported")]
    NoField {
        /// The structure.
        structure: &'static str,
        /// Path to the field, dot by dot.
        field: &'static str,
    },
}

impl Offsets {
    /// Looks everything up in the running kernel.
    pub fn of_kernel() -> Result<Self, BtfError> {
        let kernel = read("vmlinux", None)?;
        Ok(Self {
            skb_dev: required(&kernel, "sk_buff", "dev")?,
            skb_head: required(&kernel, "sk_buff", "head")?,
            skb_data: required(&kernel, "sk_buff", "data")?,
            skb_len: required(&kernel, "sk_buff", "len")?,
            skb_data_len: required(&kernel, "sk_buff", "data_len")?,
            skb_network_header: required(&kernel, "sk_buff", "network_header")?,
            dev_ifindex: required(&kernel, "net_device", "ifindex")?,
            dev_net: required(&kernel, "net_device", "nd_net.net")?,
            net_inum: required(&kernel, "net", "ns.inum")?,
            task_pid: required(&kernel, "task_struct", "pid")?,
            task_comm: required(&kernel, "task_struct", "comm")?,
            conntrack: conntrack(&kernel),
        })
    }
}

fn read(name: &str, base: Option<&Types>) -> Result<Types, BtfError> {
    let path = Path::new(SYSFS).join(name);
    let shown = path.display().to_string();
    let bytes = fs::read(&path).map_err(|source| BtfError::Unreadable {
        path: shown.clone(),
        source,
    })?;
    Types::parse(&bytes, base).map_err(|source| BtfError::Malformed {
        path: shown,
        source,
    })
}

fn required(types: &Types, structure: &'static str, field: &'static str) -> Result<u32, BtfError> {
    types
        .offset(structure, field)
        .ok_or(BtfError::NoField { structure, field })
}

fn conntrack(kernel: &Types) -> Option<ConntrackOffsets> {
    let has_module = Path::new(SYSFS).join("nf_conntrack").exists();
    let module = has_module
        .then(|| read("nf_conntrack", Some(kernel)).ok())
        .flatten();
    let types = module.as_ref().unwrap_or(kernel);
    let first = types.offset("nf_conn", "tuplehash")?;
    let tuple = types.offset("nf_conntrack_tuple_hash", "tuple")?;
    let stride = types.size("nf_conntrack_tuple_hash")?;
    Some(ConntrackOffsets {
        skb_nfct: kernel.offset("sk_buff", "_nfct")?,
        original: first + tuple,
        reply: first + stride + tuple,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_that_bpftool_prints() {
        let output = std::process::Command::new("bpftool")
            .args([
                "btf",
                "dump",
                "file",
                "/sys/kernel/btf/vmlinux",
                "format",
                "raw",
            ])
            .output()
            .expect("bpftool is needed: apt-get install bpftool");
        assert!(
            output.status.success(),
            "bpftool: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let dump = String::from_utf8_lossy(&output.stdout);
        let offsets = Offsets::of_kernel().expect("kernel BTF");
        let witness = |structure: &str, field: &str| {
            let mut inside = false;
            for line in dump.lines() {
                if line.starts_with('[') {
                    inside = line.contains(&format!("STRUCT '{structure}' size="));
                } else if inside && line.contains(&format!("'{field}' type_id=")) {
                    let bits = line.split("bits_offset=").nth(1).expect("an offset");
                    let bits = bits.split_whitespace().next().expect("a number");
                    return bits.parse::<u32>().expect("a number") / 8;
                }
            }
            panic!("bpftool does not know {structure}.{field}");
        };
        assert_eq!(offsets.skb_len, witness("sk_buff", "len"));
        assert_eq!(offsets.skb_data_len, witness("sk_buff", "data_len"));
        assert_eq!(offsets.skb_head, witness("sk_buff", "head"));
        assert_eq!(offsets.skb_data, witness("sk_buff", "data"));
        assert_eq!(offsets.dev_ifindex, witness("net_device", "ifindex"));
        assert_eq!(offsets.dev_net, witness("net_device", "nd_net"));
        assert_eq!(offsets.task_pid, witness("task_struct", "pid"));
        assert_eq!(offsets.task_comm, witness("task_struct", "comm"));
    }

    #[test]
    fn an_unknown_field_is_named() {
        let kernel = read("vmlinux", None).expect("kernel BTF");
        let error = required(&kernel, "sk_buff", "no_such_field").expect_err("there is none");
        assert!(
            error.to_string().contains("sk_buff.no_such_field"),
            "{error}"
        );
    }
}
