//! Processor time: what each CPU keeps, and the accounts that time is charged to.
//!
//! Accounts of an interval carry its epoch, so that none has to be emptied before the next. What
//! has no account of its own (softirqs, idling, tasks of other nodes) only grows, and user space
//! takes differences.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Softirq vectors that are charged, as the kernel numbers them (include/linux/interrupt.h).
pub mod vector {
    /// Sending.
    pub const NET_TX: u32 = 2;
    /// Receiving.
    pub const NET_RX: u32 = 3;
}

/// Accounts of one epoch that a CPU keeps at hand; a power of two.
pub const CPU_FRONT_SLOTS: u32 = 128;
/// Epochs that a CPU's slots are divided among: the open one and the one that is being read.
pub const CPU_FRONT_SIDES: u32 = 2;

/// Whose account it is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuKey {
    /// cgroup v2 id of the task.
    pub cgroup: u64,
    /// Its command; what stands behind the first zero byte means nothing.
    pub command: [u64; 2],
    /// Epoch of the control record.
    pub epoch: u32,
    /// Zero.
    pub reserved: u32,
}

/// What was charged.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuCharge {
    /// Nanoseconds.
    pub ns: u64,
    /// Advance of the cycle counter; 0 where there is none.
    pub cycles: u64,
    /// Switches away from the task, or runs of the softirq.
    pub events: u64,
}

/// An account at hand. It is free when its epoch is past or its cgroup zero.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuSlot {
    /// Whose it is.
    pub key: CpuKey,
    /// What was charged since the slot was taken.
    pub charge: CpuCharge,
}

/// What has no account, since the programs were loaded.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuTotals {
    /// Between entry and exit of the softirq that receives.
    pub net_rx: CpuCharge,
    /// And of the one that sends.
    pub net_tx: CpuCharge,
    /// In the idle task.
    pub idle: CpuCharge,
    /// In tasks that are not below the node's cgroup root.
    pub outside: CpuCharge,
    /// In tasks that the full map of accounts turned away.
    pub overflow: CpuCharge,
    /// Readings of the cycle counter that failed.
    pub unread: u64,
}

/// What a CPU keeps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuState {
    /// CLOCK_MONOTONIC up to which time was charged or is pending; 0 until the CPU is first settled.
    pub last_ns: u64,
    /// The cycle counter at that time.
    pub last_cycles: u64,
    /// Time of the running task that no switch has charged yet, up to `last_ns`.
    pub pending_ns: u64,
    /// Cycles of the same.
    pub pending_cycles: u64,
    /// One of [`vector`] between its entry and exit, else 0.
    pub vector: u32,
    /// Not zero while a softirq's program writes this record.
    pub busy: u32,
    /// What has no account, up to now.
    pub totals: CpuTotals,
    /// The same when the CPU was last settled. User space reads this half.
    pub settled: CpuTotals,
    /// When that was.
    pub settled_ns: u64,
}

/// Where the node's tasks are in the cgroup hierarchy.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct CpuPlace {
    /// cgroup v2 id of the root of the node's tasks.
    pub root: u64,
    /// Its depth in the kernel's hierarchy; at 0 every task is the node's.
    pub level: u32,
    /// Zero.
    pub reserved: u32,
}

/// What the settling program returns: never 0, which stands for a result that was lost.
pub mod settled {
    /// Everything up to now is charged.
    pub const DONE: u32 = 1;
    /// A softirq's program was writing: try again.
    pub const BUSY: u32 = 2;
}

/// Depths at which a cgroup root is looked for.
pub const CGROUP_LEVELS: u32 = 64;
