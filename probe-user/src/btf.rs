//! Where the wire hook's fields lie in this kernel's structures, from its BTF.
//!
//! There is no CO-RE from Rust, so offsets are looked up here and handed to the programs as
//! constants. Conntrack may be a module with BTF of its own, or absent: then the second witness is
//! off and everything else works.

use std::path::Path;

use btf_rs::{Btf, BtfType, Type};

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
    /// The kernel shows no BTF, or it cannot be read.
    #[error("cannot read kernel BTF {path}: {source}; the kernel needs CONFIG_DEBUG_INFO_BTF=y")]
    Unreadable {
        /// The file.
        path: String,
        /// What the parser or the system said.
        source: btf_rs::Error,
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
        let path = Path::new(SYSFS).join("vmlinux");
        let kernel = Btf::from_file(&path).map_err(|source| BtfError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
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
            conntrack: conntrack(&kernel),
        })
    }
}

fn required(btf: &Btf, structure: &'static str, field: &'static str) -> Result<u32, BtfError> {
    offset(btf, structure, field).ok_or(BtfError::NoField { structure, field })
}

fn conntrack(kernel: &Btf) -> Option<ConntrackOffsets> {
    let module = Path::new(SYSFS).join("nf_conntrack");
    let split = module
        .exists()
        .then(|| Btf::from_split_file(&module, kernel).ok())
        .flatten();
    let btf = split.as_ref().unwrap_or(kernel);
    let first = offset(btf, "nf_conn", "tuplehash")?;
    let tuple = offset(btf, "nf_conntrack_tuple_hash", "tuple")?;
    let stride = size(btf, "nf_conntrack_tuple_hash")?;
    Some(ConntrackOffsets {
        skb_nfct: offset(kernel, "sk_buff", "_nfct")?,
        original: first + tuple,
        reply: first + stride + tuple,
    })
}

fn structure(btf: &Btf, name: &str) -> Option<btf_rs::Struct> {
    btf.resolve_types_by_name(name)
        .ok()?
        .into_iter()
        .find_map(|found| match found {
            Type::Struct(structure) if !structure.members.is_empty() => Some(structure),
            _ => None,
        })
}

fn size(btf: &Btf, name: &str) -> Option<u32> {
    structure(btf, name).map(|found| found.size() as u32)
}

/// Offset of a field, named as a path of members; anonymous structs and unions are looked through.
fn offset(btf: &Btf, structure_name: &str, path: &str) -> Option<u32> {
    let mut current = structure(btf, structure_name)?;
    let mut bytes = 0;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let (bits, member_type) = member(btf, &current, name)?;
        bytes += bits / 8;
        if names.peek().is_some() {
            current = composite(btf, member_type)?;
        }
    }
    Some(bytes)
}

/// Bit offset and type of a member.
fn member(btf: &Btf, within: &btf_rs::Struct, name: &str) -> Option<(u32, Type)> {
    for candidate in &within.members {
        let member_type = btf.resolve_chained_type(candidate).ok()?;
        let member_name = btf.resolve_name(candidate).unwrap_or_default();
        if member_name == name {
            return Some((candidate.bit_offset(), member_type));
        }
        if member_name.is_empty()
            && let Some(inner) = composite(btf, member_type)
            && let Some((bits, found)) = member(btf, &inner, name)
        {
            return Some((candidate.bit_offset() + bits, found));
        }
    }
    None
}

/// The struct or union behind typedefs and qualifiers.
fn composite(btf: &Btf, of: Type) -> Option<btf_rs::Struct> {
    match of {
        Type::Struct(found) | Type::Union(found) => Some(found),
        Type::Typedef(_) | Type::Const(_) | Type::Volatile(_) => {
            let inner = btf
                .resolve_chained_type(of.as_btf_type()? as &dyn BtfType)
                .ok()?;
            composite(btf, inner)
        }
        _ => None,
    }
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
    }

    #[test]
    fn an_unknown_field_is_named() {
        let kernel = Btf::from_file("/sys/kernel/btf/vmlinux").expect("kernel BTF");
        let error = required(&kernel, "sk_buff", "no_such_field").expect_err("there is none");
        assert!(
            error.to_string().contains("sk_buff.no_such_field"),
            "{error}"
        );
    }
}
