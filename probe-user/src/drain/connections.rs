//! Connections whose end the pod hooks did not see, and their removal.
//!
//! The hooks forget a connection when its pod closes it. A pod that is killed with its network, or
//! a reset that the kernel sends for no socket, leaves one behind. An idle connection that waits
//! for a request loses nothing when it is forgotten: its next request takes it up again. All others
//! are given much longer.

use std::{
    collections::HashMap,
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use aya::maps::MapData;
use probe_abi::http::{Connection, ConnectionKey};

use crate::syscall::{delete_all, lookup_all};

/// Time between two looks at all connections.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How long a connection that waits for a request may be idle.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one may be idle that could not be taken up again.
const LONG_PATIENCE: Duration = Duration::from_secs(3600);

/// What is known of the connections in the map.
#[derive(Debug, Default)]
pub struct Sweep {
    /// The tick of each one's last packet, and since when it has been that.
    seen: HashMap<ConnectionKey, (u32, Instant)>,
    last: Option<Instant>,
}

impl Sweep {
    /// Removes what is over, if it is time to look.
    pub fn run(
        &mut self,
        connections: &MapData,
        streams: &MapData,
        now: Instant,
    ) -> io::Result<()> {
        if self.last.is_some_and(|last| now < last + SWEEP_EVERY) {
            return Ok(());
        }
        self.last = Some(now);
        let map = connections.fd().as_fd();
        let (keys, states) = lookup_all::<ConnectionKey, Connection>(map, 1, None, usize::MAX)?;
        let over = self.over(keys.into_iter().zip(states), now);
        delete_all(streams.fd().as_fd(), &over)?;
        delete_all(map, &over)
    }

    /// Those that have been idle for too long.
    fn over(
        &mut self,
        found: impl Iterator<Item = (ConnectionKey, Connection)>,
        now: Instant,
    ) -> Vec<ConnectionKey> {
        let before = std::mem::take(&mut self.seen);
        let mut over = Vec::new();
        for (key, state) in found {
            let since = match before.get(&key) {
                Some((tick, since)) if *tick == state.last_jiffies => *since,
                _ => now,
            };
            let waits = state.http2 == 0 && state.asked == state.answered;
            let patience = if waits { PATIENCE } else { LONG_PATIENCE };
            if now.duration_since(since) > patience {
                over.push(key);
            } else {
                self.seen.insert(key, (state.last_jiffies, since));
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(last_jiffies: u32, asked: u32, http2: u32) -> Connection {
        Connection {
            last_jiffies,
            asked,
            http2,
            ..Connection::default()
        }
    }

    #[test]
    fn only_what_is_idle_for_long_enough_is_over() {
        let key = |peer_port| ConnectionKey {
            peer_port,
            ..ConnectionKey::default()
        };
        let start = Instant::now();
        let mut sweep = Sweep::default();
        let mut check = |seconds: u64, busy_tick: u32, expected: &[u16]| {
            let found = [
                (key(1), state(7, 0, 0)),
                (key(2), state(busy_tick, 0, 0)),
                (key(3), state(7, 1, 0)),
                (key(4), state(7, 0, 1)),
            ];
            let over = sweep.over(found.into_iter(), start + Duration::from_secs(seconds));
            let ports: Vec<u16> = over.iter().map(|key| key.peer_port).collect();
            assert_eq!(ports, expected, "after {seconds} s");
        };
        check(0, 1, &[]);
        check(30, 2, &[]);
        check(60, 3, &[]);
        check(90, 4, &[1]);
        check(3601, 5, &[3, 4]);
    }
}
