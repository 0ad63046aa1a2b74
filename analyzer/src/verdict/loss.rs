//! What was lost on the way, as the ledger says.

use serde::Serialize;

use super::evidence::Window;
use super::report::Moment;

/// How evidence was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Nobody was watching.
    Gap,
    /// Packets that a full flow map turned away.
    Overflow,
    /// IP packets whose headers could not be followed.
    Unparsed,
    /// Wire flows that a full pairing map turned away.
    PairingOverflow,
    /// Fingerprints that two sources shared.
    PairingAmbiguous,
    /// Records that did not fit the ring buffer.
    RingDrops,
    /// Runs of the program that the kernel skipped.
    HookMisses,
    /// Packets that an uplink sent and its hook did not see.
    Unseen,
    /// Intervals of one hook overlap: the clock was set back.
    ClockDisorder,
}

/// One loss at one hook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Loss {
    /// Node.
    pub node: String,
    /// Vantage: `pod`, `uplink`, `wire` or `tunnel`.
    pub vantage: &'static str,
    /// Interface, where the hook has one.
    pub interface: Option<String>,
    /// How.
    pub kind: LossKind,
    /// Start.
    pub from: Moment,
    /// End.
    pub to: Moment,
    /// How many packets, flows or records, by `kind`; microseconds for gaps and clock disorder.
    pub count: i64,
}

impl Loss {
    /// Whether it may be why a packet that left was seen on no wire.
    pub(crate) fn blinds_a_wire(&self) -> bool {
        match self.kind {
            LossKind::HookMisses => self.vantage == "wire",
            LossKind::PairingAmbiguous => false,
            LossKind::Gap | LossKind::Unseen => true,
            LossKind::Overflow
            | LossKind::Unparsed
            | LossKind::PairingOverflow
            | LossKind::RingDrops
            | LossKind::ClockDisorder => self.vantage != "uplink",
        }
    }

    /// When.
    pub fn window(&self) -> Window {
        Window {
            from_us: self.from.0,
            to_us: self.to.0,
        }
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            node,
            vantage,
            count,
            ..
        } = self;
        match self.kind {
            LossKind::Gap => write!(
                f,
                "the {vantage} hooks of node {node} were not watching for {:.1} s",
                *count as f64 / 1e6
            )?,
            LossKind::Overflow => {
                write!(
                    f,
                    "node {node}: up to {count} packets at {vantage} fit no map"
                )?;
            }
            LossKind::Unparsed => {
                write!(
                    f,
                    "node {node}: up to {count} IP packets at {vantage} had headers that could not be followed"
                )?;
            }
            LossKind::PairingOverflow => {
                write!(
                    f,
                    "node {node}: up to {count} flows at {vantage} fit no pairing map"
                )?;
            }
            LossKind::PairingAmbiguous => {
                write!(
                    f,
                    "node {node}: {count} fingerprints at {vantage} were ambiguous"
                )?;
            }
            LossKind::RingDrops => {
                write!(
                    f,
                    "node {node}: up to {count} records of {vantage} were dropped"
                )?;
            }
            LossKind::HookMisses => {
                write!(
                    f,
                    "node {node}: the kernel skipped {vantage} for {count} packets"
                )?;
            }
            LossKind::Unseen => {
                let interface = self.interface.as_deref().unwrap_or_default();
                write!(
                    f,
                    "node {node}: {interface} sent {count} packets that its hook did not see"
                )?;
            }
            LossKind::ClockDisorder => write!(
                f,
                "node {node}: intervals of {vantage} overlap by {:.3} s, the clock was set back",
                *count as f64 / 1e6
            )?,
        }
        write!(f, " (from {})", self.from)
    }
}
