//! BTF, as far as offsets of structure members need it (Documentation/bpf/btf.rst).
//!
//! Types of other kinds are walked over. A module's BTF continues the numbering of types and
//! strings where the kernel's ends. It refuses kinds that it does not know, since their length is
//! unknown too and everything behind them would be read wrongly.

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
/// Recursion through anonymous members and typedefs stops here; kernels nest far less deeply.
const DEEPEST: usize = 32;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// The types of a kernel or a module.
#[derive(Clone, Debug, Default)]
pub struct Types {
    types: Vec<Kind>,
    by_name: HashMap<String, Vec<u32>>,
    strings: Vec<u8>,
}

/// What is kept of a type.
#[derive(Clone, Debug)]
enum Kind {
    Composite {
        size: u32,
        members: Vec<Member>,
    },
    /// A typedef or qualifier of another type.
    Alias(u32),
    Other,
}

#[derive(Clone, Debug)]
struct Member {
    name: String,
    type_id: u32,
    bit_offset: u32,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It does not begin as BTF of this machine's byte order does.
    #[error("it does not begin with BTF's magic number")]
    Magic,
    /// It ends too early.
    #[error("it ends within the structure at byte {at}")]
    Short {
        /// Where more was expected.
        at: usize,
    },
    /// A kind that this probe does not know.
    #[error("type {id} is of the unknown kind {kind}")]
    Kind {
        /// The type.
        id: usize,
        /// Its kind.
        kind: u32,
    },
}

impl Types {
    /// Parses a kernel's BTF, or a module's on top of its kernel's.
    pub fn parse(bytes: &[u8], base: Option<&Self>) -> Result<Self, FormatError> {
        let magic = bytes
            .get(..2)
            .map(|two| u16::from_ne_bytes([two[0], two[1]]));
        if magic != Some(MAGIC) {
            return Err(FormatError::Magic);
        }
        let header = word(bytes, 4)? as usize;
        let section = |at: usize| -> Result<&[u8], FormatError> {
            let start = header + word(bytes, at)? as usize;
            let length = word(bytes, at + 4)? as usize;
            bytes
                .get(start..start + length)
                .ok_or(FormatError::Short { at: start })
        };
        let (types, strings) = (section(8)?, section(16)?);
        // Type 0 is void and stands in no file.
        let mut parsed = base.cloned().unwrap_or_else(|| Self {
            types: vec![Kind::Other],
            ..Self::default()
        });
        parsed.strings.extend_from_slice(strings);
        let mut at = 0;
        while at < types.len() {
            at += parsed.read_type(types, at)?;
        }
        Ok(parsed)
    }

    /// Byte offset of a field, named as a path of members; anonymous structures and unions are
    /// looked through.
    pub fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let ids = self.by_name.get(structure)?;
        ids.iter().rev().find_map(|&id| self.offset_in(id, path))
    }

    /// Size of a structure in bytes.
    pub fn size(&self, structure: &str) -> Option<u32> {
        let ids = self.by_name.get(structure)?;
        ids.iter()
            .rev()
            .find_map(|&id| match self.types.get(id as usize) {
                Some(Kind::Composite { size, members }) if !members.is_empty() => Some(*size),
                _ => None,
            })
    }

    fn offset_in(&self, id: u32, path: &str) -> Option<u32> {
        let (name, rest) = path
            .split_once('.')
            .map_or((path, None), |(n, r)| (n, Some(r)));
        let (bits, type_id) = self.member(id, name, DEEPEST)?;
        let inner = rest.map_or(Some(0), |rest| {
            self.offset_in(self.composite(type_id)?, rest)
        })?;
        Some(bits / 8 + inner)
    }

    fn member(&self, id: u32, name: &str, depth: usize) -> Option<(u32, u32)> {
        let Some(Kind::Composite { members, .. }) = self.types.get(id as usize) else {
            return None;
        };
        members.iter().find_map(|member| {
            if member.name == name {
                return Some((member.bit_offset, member.type_id));
            }
            if !member.name.is_empty() || depth == 0 {
                return None;
            }
            let inner = self.composite(member.type_id)?;
            let (bits, type_id) = self.member(inner, name, depth - 1)?;
            Some((member.bit_offset + bits, type_id))
        })
    }

    /// The structure or union behind typedefs and qualifiers.
    fn composite(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEEPEST {
            match self.types.get(id as usize)? {
                Kind::Composite { .. } => return Some(id),
                Kind::Alias(of) => id = *of,
                Kind::Other => return None,
            }
        }
        None
    }

    /// Reads one type and returns its length.
    fn read_type(&mut self, bytes: &[u8], at: usize) -> Result<usize, FormatError> {
        let name = self.string(word(bytes, at)?);
        let info = word(bytes, at + 4)?;
        let size_or_type = word(bytes, at + 8)?;
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let body = at + 12;
        let (parsed, length) = match kind {
            KIND_STRUCT | KIND_UNION => {
                let has_bitfields = info >> 31 == 1;
                let members = (0..count)
                    .map(|index| self.read_member(bytes, body + index * 12, has_bitfields))
                    .collect::<Result<_, _>>()?;
                (
                    Kind::Composite {
                        size: size_or_type,
                        members,
                    },
                    count * 12,
                )
            }
            KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_TYPE_TAG => {
                (Kind::Alias(size_or_type), 0)
            }
            KIND_INT | KIND_VAR | KIND_DECL_TAG => (Kind::Other, 4),
            KIND_ARRAY => (Kind::Other, 12),
            KIND_ENUM | KIND_FUNC_PROTO => (Kind::Other, count * 8),
            KIND_DATASEC | KIND_ENUM64 => (Kind::Other, count * 12),
            // Pointers, forwards, restrict, functions and floats have no more than the head.
            2 | 7 | 11 | 12 | 16 => (Kind::Other, 0),
            kind => {
                return Err(FormatError::Kind {
                    id: self.types.len(),
                    kind,
                });
            }
        };
        if matches!(parsed, Kind::Composite { .. }) && !name.is_empty() {
            self.by_name
                .entry(name)
                .or_default()
                .push(self.types.len() as u32);
        }
        self.types.push(parsed);
        Ok(12 + length)
    }

    fn read_member(
        &self,
        bytes: &[u8],
        at: usize,
        has_bitfields: bool,
    ) -> Result<Member, FormatError> {
        let offset = word(bytes, at + 8)?;
        Ok(Member {
            name: self.string(word(bytes, at)?),
            type_id: word(bytes, at + 4)?,
            bit_offset: if has_bitfields {
                offset & 0x00ff_ffff
            } else {
                offset
            },
        })
    }

    fn string(&self, at: u32) -> String {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(rest.len());
        String::from_utf8_lossy(&rest[..end]).into_owned()
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u32, FormatError> {
    bytes
        .get(at..at + 4)
        .map(|four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
        .ok_or(FormatError::Short { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let whole = std::fs::read("/sys/kernel/btf/vmlinux").expect("kernel BTF");
        assert!(matches!(Types::parse(b"", None), Err(FormatError::Magic)));
        assert!(matches!(
            Types::parse(&[0; 64], None),
            Err(FormatError::Magic)
        ));
        for length in [2, 8, 23, 24, 1000, whole.len() / 2] {
            assert!(
                Types::parse(&whole[..length], None).is_err(),
                "{length} bytes parsed"
            );
        }
    }
}
