//! An uplink against the kernel: `counted + overflow + non_ip + ip_unparsed = kernel + dropped behind`.
//!
//! Drivers differ in whether their counters know wire packets or sk_buffs, and nothing says which:
//! both residuals are computed, and the basis that fits is taken and named. Kernel and probe are not
//! read at one instant. Columns are differences, so the readings in between cancel, and what remains
//! open is how far the counter moved while the first and the last reading of each unbroken run of
//! rows were taken. A packet dropped behind the hook has passed it and not the driver; its length
//! is not known, so then bytes are bounded and not exact; so they are where a driver leaves the link
//! header out for what its virtual function received.

use serde::Serialize;
use trace_schema::flows::Direction;
use trace_schema::ledger::Count;

use super::sums::add_count;
use super::{Balance, Entry, Series};

const SMALLEST_IP_PACKET_BYTES: i64 = 20;
const LARGEST_BUFFER_BYTES: i64 = 65_535 + 40;
const MOST_SEGMENTS_PER_BUFFER: i64 = 65_535;

/// What a driver's counters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Packets as on the wire.
    Packets,
    /// sk_buffs.
    Buffers,
}

/// The books of one uplink and direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Account {
    /// Where.
    pub series: Series,
    /// Start of the first row, UTC microseconds.
    pub from_us: i64,
    /// End of the last row.
    pub until_us: i64,
    /// Rows summed.
    pub rows: usize,
    /// Unbroken runs of rows; more than one after a restart of the probe.
    pub segments: usize,
    /// What stands in `flows`, and in no flow: counted + overflow + non_ip + ip_unparsed.
    pub passed: Count,
    /// Of which counted.
    pub counted: Count,
    /// The kernel's packets.
    pub kernel_packets: Option<i64>,
    /// The kernel's bytes, link headers included.
    pub kernel_bytes: Option<i64>,
    /// Packets dropped behind the hook.
    pub dropped_behind_packets: i64,
    /// The basis that fits, or fits better.
    pub basis: Option<Basis>,
    /// Passed less kernel and drops, in wire packets.
    pub in_packets: Option<Residual>,
    /// Passed less kernel and drops, in sk_buffs.
    pub in_buffers: Option<Residual>,
    /// What that says.
    pub balance: Balance,
    /// Why it is not balanced.
    pub reason: Option<String>,
}

/// How far two sides of an account are apart on one basis, and how far they may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Residual {
    /// Passed less kernel and drops.
    pub packets: i64,
    /// The least that boundary and drops allow.
    pub packets_at_least: i64,
    /// The most that they allow.
    pub packets_at_most: i64,
    /// Passed with link headers less kernel; drops are in it.
    pub bytes: i64,
    /// The least that boundary and drops allow.
    pub bytes_at_least: i64,
    /// The most that they allow.
    pub bytes_at_most: i64,
}

impl Account {
    /// The account where a full spool gave up so many rows. How far the kernel's counters moved
    /// while its first row began stood in books that went: what is off proves nothing.
    pub(super) fn with_dropped(self, spool_dropped_rows: i64) -> Self {
        if spool_dropped_rows == 0 || self.balance != Balance::Off {
            return self;
        }
        let off = self.reason.as_deref().unwrap_or("off");
        let reason = format!("{off}, and the full spool gave up the books before");
        Self {
            balance: Balance::Inconclusive,
            reason: Some(reason),
            ..self
        }
    }

    /// The residual on the basis that was taken.
    pub fn residual(&self) -> Option<Residual> {
        match self.basis? {
            Basis::Packets => self.in_packets,
            Basis::Buffers => self.in_buffers,
        }
    }
}

impl Residual {
    /// Packets beyond what is allowed; 0 where it fits.
    pub fn unexplained_packets(&self) -> i64 {
        beyond(self.packets, self.packets_at_least, self.packets_at_most)
    }

    /// Bytes beyond what is allowed; 0 where it fits.
    pub fn unexplained_bytes(&self) -> i64 {
        beyond(self.bytes, self.bytes_at_least, self.bytes_at_most)
    }

    /// Whether both are within what is allowed.
    pub fn fits(&self) -> bool {
        self.unexplained_packets() == 0 && self.unexplained_bytes() == 0
    }

    /// The better fit is the smaller.
    fn misfit(&self) -> [i64; 4] {
        [
            self.unexplained_packets().abs(),
            self.unexplained_bytes().abs(),
            self.packets.abs(),
            self.bytes.abs(),
        ]
    }
}

/// Sums of a series that both bases need.
#[derive(Default)]
struct Sums {
    passed: Count,
    counted: Count,
    packet_link_bytes: i64,
    buffer_link_bytes: i64,
    headers_left_out_bytes: i64,
    largest_link_header_bytes: i64,
    kernel: (i64, i64),
    rows_without_kernel: usize,
    dropped_behind: i64,
    rows_without_drops: usize,
    boundary: (i64, i64),
    segments: usize,
}

/// Draws the account of a series from its rows, sorted by time.
pub(super) fn account(series: &Series, entries: &[Entry]) -> Account {
    let sums = sums(entries);
    let mut account = Account {
        series: series.clone(),
        from_us: entries.first().map_or(0, |entry| entry.start_us),
        until_us: entries.last().map_or(0, |entry| entry.end_us),
        rows: entries.len(),
        segments: sums.segments,
        passed: sums.passed,
        counted: sums.counted,
        kernel_packets: None,
        kernel_bytes: None,
        dropped_behind_packets: sums.dropped_behind,
        basis: None,
        in_packets: None,
        in_buffers: None,
        balance: Balance::Inconclusive,
        reason: None,
    };
    if sums.rows_without_kernel > 0 {
        let missing = sums.rows_without_kernel;
        account.reason = Some(format!(
            "{missing} rows lack the kernel's interface counter"
        ));
        return account;
    }
    let (in_packets, in_buffers) = (
        residual(&sums, Basis::Packets),
        residual(&sums, Basis::Buffers),
    );
    let is_packets = in_packets.misfit() <= in_buffers.misfit();
    let taken = if is_packets { in_packets } else { in_buffers };
    account.kernel_packets = Some(sums.kernel.0);
    account.kernel_bytes = Some(sums.kernel.1);
    account.basis = Some(if is_packets {
        Basis::Packets
    } else {
        Basis::Buffers
    });
    account.in_packets = Some(in_packets);
    account.in_buffers = Some(in_buffers);
    let lacks_drops = series.direction == Some(Direction::Egress) && sums.rows_without_drops > 0;
    (account.balance, account.reason) = if taken.fits() {
        (Balance::Balanced, None)
    } else if lacks_drops && taken.packets >= taken.packets_at_least {
        let reason =
            "more passed the hook than the driver sent, and drops behind the hook were not counted";
        (Balance::Inconclusive, Some(reason.to_owned()))
    } else {
        let (packets, bytes) = (taken.unexplained_packets(), taken.unexplained_bytes());
        (
            Balance::Off,
            Some(format!("off by {packets} packets and {bytes} bytes")),
        )
    };
    account
}

/// A row of an uplink in which its driver sent what never passed the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// Start of the row, UTC microseconds.
    pub from_us: i64,
    /// End of the row.
    pub until_us: i64,
    /// Packets, or buffers where the driver counts these, beyond what the boundary leaves open.
    pub packets: i64,
}

/// Rows in which more was sent than can have passed: more than passed in the row, in packets, and
/// was waiting behind the hook before it (in a qdisc, or at a driver that counts what it has
/// completed). What passes before the counter is read at a row's end is within its boundary. What was
/// waiting is not known before the first row of an unbroken run, which is therefore never one.
pub(super) fn unseen(series: &Series, entries: &[Entry]) -> Vec<Unseen> {
    let basis = account(series, entries).basis;
    let mut unseen = Vec::new();
    let mut waiting: Option<i64> = None;
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 && entries[at - 1].end_us != entry.start_us {
            waiting = None;
        }
        let Some((sent, _)) = entry.kernel.filter(|&(sent, _)| sent >= 0) else {
            waiting = None;
            continue;
        };
        // A driver that counts buffers counts packets where the kernel segments below the hook.
        let most = entry.passed.packets.max(entry.passed.buffers);
        if let Some(waiting) = waiting {
            let packets = sent - most - waiting - entry.boundary.0;
            if packets > 0 {
                unseen.push(Unseen {
                    from_us: entry.start_us,
                    until_us: entry.end_us,
                    packets,
                });
            }
        }
        let passed = match basis {
            Some(Basis::Buffers) => entry.passed.buffers,
            Some(Basis::Packets) | None => entry.passed.packets,
        };
        let left = waiting.unwrap_or_default() + passed - sent;
        waiting = Some((left - entry.dropped_behind.unwrap_or_default()).max(0));
    }
    unseen
}

fn sums(entries: &[Entry]) -> Sums {
    let mut sums = Sums::default();
    for (at, entry) in entries.iter().enumerate() {
        add_count(&mut sums.passed, entry.passed);
        add_count(&mut sums.counted, entry.counted);
        sums.packet_link_bytes += entry.passed.packets * entry.link_header_bytes;
        sums.buffer_link_bytes += entry.passed.buffers * entry.link_header_bytes;
        sums.headers_left_out_bytes += entry.headers_left_out_bytes;
        sums.largest_link_header_bytes =
            sums.largest_link_header_bytes.max(entry.link_header_bytes);
        match entry.kernel {
            Some((packets, bytes)) => {
                sums.kernel.0 += packets;
                sums.kernel.1 += bytes;
            }
            None => sums.rows_without_kernel += 1,
        }
        sums.dropped_behind += entry.dropped_behind.unwrap_or_default();
        sums.rows_without_drops += usize::from(entry.dropped_behind.is_none());
        let is_first = at == 0 || entries[at - 1].end_us != entry.start_us;
        let is_last = entries
            .get(at + 1)
            .is_none_or(|next| next.start_us != entry.end_us);
        sums.segments += usize::from(is_first);
        for _ in 0..usize::from(is_first) + usize::from(is_last) {
            sums.boundary.0 += entry.boundary.0;
            sums.boundary.1 += entry.boundary.1;
        }
    }
    sums
}

fn residual(sums: &Sums, basis: Basis) -> Residual {
    let (packets, bytes) = match basis {
        Basis::Packets => (
            sums.passed.packets,
            sums.passed.bytes + sums.packet_link_bytes,
        ),
        Basis::Buffers => (
            sums.passed.buffers,
            sums.passed.buffer_bytes + sums.buffer_link_bytes,
        ),
    };
    let dropped = sums.dropped_behind;
    // One drop may be a buffer of many segments: each further one left no trace in the drop count.
    let hidden_segments = match basis {
        Basis::Packets => (sums.passed.packets - sums.passed.buffers)
            .min(dropped.saturating_mul(MOST_SEGMENTS_PER_BUFFER - 1))
            .max(0),
        Basis::Buffers => 0,
    };
    let smallest_drop = SMALLEST_IP_PACKET_BYTES;
    let largest_drop = LARGEST_BUFFER_BYTES + sums.largest_link_header_bytes;
    let segment_headers =
        hidden_segments * (sums.largest_link_header_bytes + LARGEST_HEADERS_BYTES);
    Residual {
        packets: packets - sums.kernel.0 - dropped,
        packets_at_least: -sums.boundary.0,
        packets_at_most: sums.boundary.0 + hidden_segments,
        bytes: bytes - sums.kernel.1,
        bytes_at_least: dropped * smallest_drop - sums.boundary.1,
        bytes_at_most: dropped.saturating_mul(largest_drop)
            + segment_headers
            + sums.headers_left_out_bytes
            + sums.boundary.1,
    }
}

/// IPv6 and TCP with all options: what each segment of a dropped buffer repeats.
const LARGEST_HEADERS_BYTES: i64 = 40 + 60;

fn beyond(value: i64, at_least: i64, at_most: i64) -> i64 {
    value - value.clamp(at_least.min(at_most), at_most)
}
