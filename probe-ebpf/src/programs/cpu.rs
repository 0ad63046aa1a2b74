//! Processor time: tp_btf/sched_switch, softirq_entry and softirq_exit.
//!
//! Each CPU keeps the time up to which it has charged. A switch charges what has passed since to
//! the leaving task; a network softirq's entry sets the interrupted task's part aside, and its exit
//! charges what has passed to the vector. So nothing counts twice and nothing is left out.
//!
//! On one CPU these programs never meet: softirqs do not nest and no task is switched in one
//! (`__do_softirq`, kernel/softirq.c), and the scheduler runs with interrupts off. Where softirqs are
//! preemptible (PREEMPT_RT) user space leaves the softirq programs out. The settling program is
//! another matter. It charges what runs right now, in an interrupt or, on the caller's own CPU, in
//! its system call. In an interrupt it may find a softirq's program half done, which says so; in the
//! system call it may itself be interrupted, so it takes each word in one instruction.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_CURRENT_CPU, BPF_NOEXIST},
    helpers::{
        bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_ktime_get_ns,
        generated::{bpf_get_current_task_btf, bpf_perf_event_read},
    },
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use probe_abi::cpu::{
    CGROUP_LEVELS, CPU_FRONT_SLOTS, CpuCharge, CpuKey, CpuSlot, CpuState, settled, vector,
};

use super::{
    atomic,
    kernel::field,
    maps::{CONTROL, CPU, CPU_ACCOUNTS, CPU_FRONT, CPU_PLACE, CYCLES, parameter},
};

/// What a failed reading of a counter returns is a small negative number.
const LARGEST_ERRNO: u64 = 4095;

#[btf_tracepoint(function = "sched_switch")]
pub fn cpu_switch(_ctx: BtfTracePointContext) -> i32 {
    let Some(state) = CPU.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the state is this CPU's, and interrupts are off.
    unsafe {
        if (*state).last_ns == 0 {
            return 0;
        }
        let now_ns = bpf_ktime_get_ns();
        let cycles = cycles(state);
        let spent = CpuCharge {
            ns: (*state).pending_ns + (now_ns - (*state).last_ns),
            cycles: (*state).pending_cycles + advance((*state).last_cycles, cycles),
            events: 1,
        };
        (*state).pending_ns = 0;
        (*state).pending_cycles = 0;
        (*state).last_ns = now_ns;
        (*state).last_cycles = cycles;
        (*state).vector = 0;
        charge(state, spent);
    }
    0
}

#[btf_tracepoint(function = "softirq_entry")]
pub fn softirq_entry(ctx: BtfTracePointContext) -> i32 {
    let Some((state, entered)) = network_softirq(&ctx) else {
        return 0;
    };
    // SAFETY: the state is this CPU's, and whoever interrupts this leaves it alone while it is busy.
    unsafe {
        set(&raw mut (*state).busy, 1);
        let now_ns = bpf_ktime_get_ns();
        let cycles = cycles(state);
        let ns = (*state).pending_ns + (now_ns - (*state).last_ns);
        let more = advance((*state).last_cycles, cycles);
        set(&raw mut (*state).pending_ns, ns);
        set(
            &raw mut (*state).pending_cycles,
            (*state).pending_cycles + more,
        );
        set(&raw mut (*state).last_ns, now_ns);
        set(&raw mut (*state).last_cycles, cycles);
        set(&raw mut (*state).vector, entered);
        set(&raw mut (*state).busy, 0);
    }
    0
}

#[btf_tracepoint(function = "softirq_exit")]
pub fn softirq_exit(ctx: BtfTracePointContext) -> i32 {
    let Some((state, left)) = network_softirq(&ctx) else {
        return 0;
    };
    // SAFETY: as above.
    unsafe {
        // One that was entered before this program was attached is still the task's.
        if (*state).vector != left {
            return 0;
        }
        set(&raw mut (*state).busy, 1);
        let now_ns = bpf_ktime_get_ns();
        let cycles = cycles(state);
        let spent = CpuCharge {
            ns: now_ns - (*state).last_ns,
            cycles: advance((*state).last_cycles, cycles),
            events: 1,
        };
        add(of_vector(state, left), spent);
        set(&raw mut (*state).last_ns, now_ns);
        set(&raw mut (*state).last_cycles, cycles);
        set(&raw mut (*state).vector, 0);
        set(&raw mut (*state).busy, 0);
    }
    0
}

/// Charges what runs on this CPU right now, and keeps the totals for user space to read. It is
/// loaded, never attached, and run on each CPU by `BPF_PROG_TEST_RUN`, which gives what it returns:
/// aya's attribute for raw tracepoints, which are not asked for a result, would return 0 instead.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/sched_switch")]
pub fn cpu_settle(_ctx: *mut c_void) -> u32 {
    let Some(state) = CPU.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the state is this CPU's; who may interrupt this ends before it goes on, and each
    // exchange is one instruction.
    unsafe {
        if core::ptr::read_volatile(&raw const (*state).busy) != 0 {
            return settled::BUSY;
        }
        let pending_ns = atomic::swap(&raw mut (*state).pending_ns, 0);
        let pending_cycles = atomic::swap(&raw mut (*state).pending_cycles, 0);
        let now_ns = bpf_ktime_get_ns();
        let cycles = cycles(state);
        let last_ns = atomic::swap(&raw mut (*state).last_ns, now_ns);
        let last_cycles = atomic::swap(&raw mut (*state).last_cycles, cycles);
        // The first time begins the CPU's books.
        if last_ns != 0 {
            // A softirq that came between the clock and the exchange has moved the time on: what is
            // negative here is charged again from `now_ns` on.
            let since = CpuCharge {
                ns: now_ns.wrapping_sub(last_ns),
                cycles: advance(last_cycles, cycles),
                events: 0,
            };
            let mut spent = CpuCharge {
                ns: pending_ns,
                cycles: pending_cycles,
                events: 0,
            };
            let inside = (*state).vector;
            if inside == 0 {
                spent.ns = spent.ns.wrapping_add(since.ns);
                spent.cycles = spent.cycles.wrapping_add(since.cycles);
            } else {
                add(of_vector(state, inside), since);
            }
            charge(state, spent);
        }
        (*state).settled = (*state).totals;
        (*state).settled_ns = now_ns;
    }
    settled::DONE
}

/// At which depth of the hierarchy the node's cgroup root is among the caller's ancestors, plus
/// one; 0 where it is not. Run by `BPF_PROG_TEST_RUN`, as above.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/sched_switch")]
pub fn cpu_level(_ctx: *mut c_void) -> u32 {
    let Some(place) = CPU_PLACE.get_ptr(0) else {
        return 0;
    };
    let mut level = 0;
    while level < CGROUP_LEVELS {
        // SAFETY: the element always exists, and the helper takes any number.
        unsafe {
            if bpf_get_current_ancestor_cgroup_id(level as i32) == (*place).root {
                return level + 1;
            }
        }
        level += 1;
    }
    0
}

/// This CPU's state and the vector, where it is one that is charged and the CPU's books are open.
#[inline(always)]
fn network_softirq(ctx: &BtfTracePointContext) -> Option<(*mut CpuState, u32)> {
    // SAFETY: the tracepoint's only argument is the vector's number.
    let number = unsafe { *(ctx.as_ptr() as *const u64) } as u32;
    if number != vector::NET_RX && number != vector::NET_TX {
        return None;
    }
    let state = CPU.get_ptr_mut(0)?;
    // SAFETY: the element always exists.
    unsafe { ((*state).last_ns != 0).then_some((state, number)) }
}

#[inline(always)]
unsafe fn of_vector(state: *mut CpuState, number: u32) -> *mut CpuCharge {
    // SAFETY: the caller vouches for the state.
    unsafe {
        if number == vector::NET_RX {
            &raw mut (*state).totals.net_rx
        } else {
            &raw mut (*state).totals.net_tx
        }
    }
}

/// Charges the task that runs.
#[inline(always)]
unsafe fn charge(state: *mut CpuState, spent: CpuCharge) {
    // SAFETY: the caller vouches for the state; offsets come from the running kernel's BTF, and the
    // verifier checks each access against it.
    unsafe {
        let task = bpf_get_current_task_btf() as *const u8;
        let pid: u32 = field(task, parameter!(TASK_PID));
        if pid == 0 {
            return add(&raw mut (*state).totals.idle, spent);
        }
        if is_outside() {
            return add(&raw mut (*state).totals.outside, spent);
        }
        let comm = parameter!(TASK_COMM);
        let key = CpuKey {
            cgroup: bpf_get_current_cgroup_id(),
            command: [field(task, comm), field(task, comm + 8)],
            epoch: epoch(),
            reserved: 0,
        };
        let Some(slot) = CPU_FRONT.get_ptr_mut(slot_of(&key)) else {
            return;
        };
        if (*slot).key != key {
            let is_taken = (*slot).key.epoch == key.epoch && (*slot).key.cgroup != 0;
            if is_taken && make_room(slot) != 0 {
                add(&raw mut (*state).totals.overflow, (*slot).charge);
            }
            (*slot).key = key;
            (*slot).charge = CpuCharge::default();
        }
        add(&raw mut (*slot).charge, spent);
    }
}

#[inline(always)]
fn is_outside() -> bool {
    let Some(place) = CPU_PLACE.get_ptr(0) else {
        return false;
    };
    // SAFETY: the element always exists, and user space writes it before anything is attached.
    unsafe {
        let level = (*place).level;
        level != 0 && bpf_get_current_ancestor_cgroup_id(level as i32) != (*place).root
    }
}

/// Moves a slot's account to the map of all CPUs. Not zero when the map is full.
#[inline(never)]
unsafe fn make_room(slot: *const CpuSlot) -> u32 {
    // SAFETY: the slot is a live map value of this CPU, and accounts of the open epoch stay.
    unsafe {
        let key = (*slot).key;
        let charge = (*slot).charge;
        if CPU_ACCOUNTS.get_ptr(key).is_none()
            && CPU_ACCOUNTS
                .insert(key, charge, u64::from(BPF_NOEXIST))
                .is_ok()
        {
            return 0;
        }
        // Another CPU may have made it in between.
        let Some(known) = CPU_ACCOUNTS.get_ptr_mut(key) else {
            return 1;
        };
        atomic::add(&raw mut (*known).ns, charge.ns);
        atomic::add(&raw mut (*known).cycles, charge.cycles);
        atomic::add(&raw mut (*known).events, charge.events);
    }
    0
}

/// The slot that an account belongs in.
#[inline(always)]
fn slot_of(key: &CpuKey) -> u32 {
    let mixed = key.cgroup ^ key.command[0] ^ key.command[1].rotate_left(7);
    let spread = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (key.epoch & 1) * CPU_FRONT_SLOTS + (spread as u32 & (CPU_FRONT_SLOTS - 1))
}

#[inline(always)]
fn epoch() -> u32 {
    match CONTROL.get_ptr(0) {
        // SAFETY: the control map's only element always exists.
        Some(control) => unsafe { core::ptr::read_volatile(&raw const (*control).epoch) },
        None => 0,
    }
}

/// This CPU's cycle counter; where it cannot be read, as it was last, which is counted.
#[inline(always)]
unsafe fn cycles(state: *mut CpuState) -> u64 {
    if parameter!(CYCLES_ON) == 0 {
        return 0;
    }
    // SAFETY: the helper takes the map and a flag, and the caller vouches for the state.
    unsafe {
        let counters = (&raw const CYCLES).cast_mut().cast();
        let value = bpf_perf_event_read(counters, u64::from(BPF_F_CURRENT_CPU));
        if value < LARGEST_ERRNO.wrapping_neg() {
            return value;
        }
        (*state).totals.unread += 1;
        (*state).last_cycles
    }
}

/// How far a counter went; nothing where it began anew.
#[inline(always)]
fn advance(from: u64, to: u64) -> u64 {
    if to > from { to - from } else { 0 }
}

#[inline(always)]
unsafe fn add(to: *mut CpuCharge, spent: CpuCharge) {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        (*to).ns = (*to).ns.wrapping_add(spent.ns);
        (*to).cycles = (*to).cycles.wrapping_add(spent.cycles);
        (*to).events = (*to).events.wrapping_add(spent.events);
    }
}

/// Stores a word where it stands in the program, for whoever interrupts it.
#[inline(always)]
unsafe fn set<T>(to: *mut T, value: T) {
    // SAFETY: the caller vouches for the pointer.
    unsafe { core::ptr::write_volatile(to, value) }
}
