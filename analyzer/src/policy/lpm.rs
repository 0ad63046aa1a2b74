//! Longest-prefix match over destinations, as Cilium's policy map does it.
//!
//! A prefix keeps everything that was put on it: two policies with equal prefixes contradict each
//! other, and the caller must see both.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixMap;

/// Values by destination prefix, IPv4 and IPv6 side by side.
#[derive(Clone)]
pub struct DestinationTrie<T>(JointPrefixMap<IpNet, Vec<T>>);

impl<T> Default for DestinationTrie<T> {
    fn default() -> Self {
        Self(JointPrefixMap::new())
    }
}

impl<T> DestinationTrie<T> {
    /// Puts a value on a prefix, beside those that are there.
    pub fn put(&mut self, prefix: IpNet, value: T) {
        self.0.entry(prefix.trunc()).or_default().push(value);
    }

    /// The values on the longest prefix that holds the address; none where no prefix does.
    pub fn longest(&self, address: IpAddr) -> &[T] {
        self.0
            .get_lpm(&IpNet::from(address))
            .map_or(&[], |(_prefix, values)| values)
    }
}

impl<T: fmt::Debug> fmt::Debug for DestinationTrie<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The prefixes of greatest length among those that hold the address, found by looking at all.
    fn scan(prefixes: &[IpNet], address: IpAddr) -> Vec<usize> {
        let holding = prefixes
            .iter()
            .enumerate()
            .filter(|(_, prefix)| prefix.contains(&address));
        let longest = holding.clone().map(|(_, prefix)| prefix.prefix_len()).max();
        holding
            .filter(|(_, prefix)| Some(prefix.prefix_len()) == longest)
            .map(|(index, _)| index)
            .collect()
    }

    /// Few distinct bits, so that prefixes nest and repeat.
    fn narrow_v4() -> impl Strategy<Value = IpAddr> {
        (0_u32..4, 0_u32..4).prop_map(|(high, low)| IpAddr::V4(((high << 30) | low).into()))
    }

    fn narrow_v6() -> impl Strategy<Value = IpAddr> {
        (0_u128..4, 0_u128..4).prop_map(|(high, low)| IpAddr::V6(((high << 126) | low).into()))
    }

    fn prefix() -> impl Strategy<Value = IpNet> {
        let v4 = (narrow_v4(), 0_u8..=32);
        let v6 = (narrow_v6(), 0_u8..=128);
        prop_oneof![v4, v6]
            .prop_map(|(address, length)| IpNet::new(address, length).unwrap().trunc())
    }

    proptest! {
        #[test]
        fn agrees_with_a_scan_of_all_prefixes(
            prefixes in prop::collection::vec(prefix(), 0..40),
            address in prop_oneof![narrow_v4(), narrow_v6()],
        ) {
            let mut trie = DestinationTrie::default();
            for (index, prefix) in prefixes.iter().enumerate() {
                trie.put(*prefix, index);
            }
            prop_assert_eq!(trie.longest(address).to_vec(), scan(&prefixes, address));
        }
    }

    #[test]
    fn default_routes_of_both_families_are_apart() {
        let mut trie = DestinationTrie::default();
        trie.put("0.0.0.0/0".parse().unwrap(), 4);
        trie.put("::/0".parse().unwrap(), 6);
        assert_eq!(trie.longest("192.0.2.1".parse().unwrap()), [4]);
        assert_eq!(trie.longest("2001:db8::1".parse().unwrap()), [6]);
    }
}
