//! Which node Antrea puts a pool's address on, where no status says it.
//!
//! The controllers agree without talking: each puts every eligible node on a ring of CRC-32 values
//! a fixed number of times, and the address goes to the node that follows its own value.

/// How often a node stands on the ring.
const REPLICAS: usize = 50;

/// The node that an address goes to; `None` without nodes.
pub(super) fn place<'n>(
    address: &str,
    nodes: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let mut ring: Vec<(u32, &str)> = Vec::new();
    for node in nodes {
        for replica in 0..REPLICAS {
            ring.push((crc32fast::hash(format!("{replica}{node}").as_bytes()), node));
        }
    }
    ring.sort_unstable();
    let key = crc32fast::hash(address.as_bytes());
    let successor = ring.partition_point(|(hash, _)| *hash < key);
    ring.get(successor).or(ring.first()).map(|(_, node)| *node)
}
