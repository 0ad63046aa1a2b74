//! Costs by packet, buffer, byte and response, and their means over the runs of a case.

use super::report::{Cost, CycleBasis, Denominators, PerUnit};
use super::tally::Charge;

/// What a run's costs are divided by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Divisors {
    packets: Option<i64>,
    buffers: Option<i64>,
    bytes: Option<i64>,
    client_packets: Option<i64>,
    client_bytes: Option<i64>,
    responses: Option<i64>,
}

impl Divisors {
    pub fn of(denominators: &Denominators) -> Self {
        let some = |amount: i64| (amount > 0).then_some(amount);
        let client = denominators.client_pod;
        Self {
            packets: some(denominators.uplinks.packets),
            buffers: some(denominators.uplinks.buffers),
            bytes: some(denominators.uplinks.bytes),
            client_packets: client.and_then(|client| some(client.packets)),
            client_bytes: client.and_then(|client| some(client.bytes)),
            responses: denominators.responses.and_then(some),
        }
    }

    /// A charge with its ratios; cycles are left out where sources differ or none counted them.
    pub fn cost(&self, charge: Charge, basis: CycleBasis, charged_cpu_ns: i64) -> Cost {
        let cpu_ns = charge.cpu_ns.amount();
        let cycles = basis.counts().then(|| charge.cycles.amount());
        let ratio = |amount: i64, by: Option<i64>| by.map(|by| amount as f64 / by as f64);
        let per = |by: Option<i64>| PerUnit {
            cpu_ns: ratio(cpu_ns, by),
            cycles: cycles.and_then(|cycles| ratio(cycles, by)),
        };
        // Nanoseconds by byte are CPU seconds by 10⁹ bytes, and eight bits are a byte.
        let by_gbit = |by: Option<i64>| ratio(cpu_ns, by).map(|by_byte| by_byte / 8.0);
        Cost {
            cpu_ns,
            cycles,
            share: (charged_cpu_ns > 0).then(|| cpu_ns as f64 / charged_cpu_ns as f64),
            per_wire_packet: per(self.packets),
            per_buffer: per(self.buffers),
            per_byte: per(self.bytes),
            per_client_packet: per(self.client_packets),
            per_response: per(self.responses),
            cpu_seconds_per_gbit: by_gbit(self.bytes),
            cpu_seconds_per_client_gbit: by_gbit(self.client_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Traffic;
    use super::super::span::WHOLE;
    use super::*;

    #[test]
    fn costs_are_divided_by_what_was_counted() {
        let denominators = Denominators {
            uplinks: Traffic {
                packets: 1_000_000,
                bytes: 1_250_000_000,
                buffers: 25_000,
            },
            responses: Some(0),
            ..Denominators::default()
        };
        let mut charge = Charge::default();
        charge.add_raw(2_000_000_000, 5_000_000_000, 1, WHOLE);
        let cost = Divisors::of(&denominators).cost(charge, CycleBasis::Reference, 8_000_000_000);
        assert_eq!(cost.share, Some(0.25));
        assert_eq!(cost.per_wire_packet.cycles, Some(5_000.0));
        assert_eq!(cost.per_wire_packet.cpu_ns, Some(2_000.0));
        assert_eq!(cost.per_buffer.cycles, Some(200_000.0));
        assert_eq!(cost.per_byte.cycles, Some(4.0));
        // 10 Gbit in 2 CPU seconds.
        assert_eq!(cost.cpu_seconds_per_gbit, Some(0.2));
        assert_eq!(cost.per_response, PerUnit::default());
        let mixed = Divisors::of(&denominators).cost(charge, CycleBasis::Mixed, 0);
        assert_eq!((mixed.cycles, mixed.share), (None, None));
        assert_eq!(mixed.per_wire_packet.cpu_ns, Some(2_000.0));
    }
}
