//! The loaded object without a hook, and test runs of its programs.

use std::sync::{Arc, Mutex, PoisonError};

use aya::{
    Ebpf,
    programs::{CgroupSkb, SchedClassifier, TestRun, TestRunOptions, TestRunResult},
};
use aya_log::EbpfLogger;
use e2e::require_root;
use probe_abi::{
    flow::{FlowKey4, FlowKey6, FlowRecord},
    loss::{LossCount, LossKey},
};
use probe_user::{
    config::{TunnelKind, TunnelPort},
    drain::{Drained, Maps},
    loader::{Parameters, load, program},
};

/// Offsets in `struct __sk_buff`, include/uapi/linux/bpf.h; its size.
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const CONTEXT_LENGTH: usize = 192;
/// The interface that test runs take where none is named: loopback.
pub const LOOPBACK: u32 = 1;

/// The programs, and the maps that they fill.
pub struct Rig {
    /// The object, for its programs.
    pub ebpf: Ebpf,
    /// What the programs fill.
    pub maps: Maps,
    logger: EbpfLogger<Log>,
    log: Log,
}

/// What one buffer stands for: payload of a segment, and how many segments (0: not said).
#[derive(Clone, Copy, Default)]
pub struct Gso {
    pub size: u32,
    pub segments: u32,
}

/// Messages of the programs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl log::Log for Log {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(record.args().to_string());
    }
    fn flush(&self) {}
}

impl Rig {
    /// Loads the object with flow maps of the given size.
    pub fn new(max_flows: u32) -> Self {
        require_root();
        let mut ebpf = load(&parameters(max_flows)).expect("the object loads");
        let log = Log::default();
        let logger = EbpfLogger::init_with_logger(&mut ebpf, log.clone()).expect("a log");
        let maps = Maps::take(&mut ebpf).expect("the maps");
        Self {
            ebpf,
            maps,
            logger,
            log,
        }
    }

    /// Runs a tc program once.
    pub fn run(&mut self, name: &str, frame: &[u8]) {
        self.run_gso(name, frame, Gso::default());
    }

    /// Runs a tc program once on a buffer that stands for several packets.
    pub fn run_gso(&mut self, name: &str, frame: &[u8], gso: Gso) {
        let found = program::<SchedClassifier>(&mut self.ebpf, name).expect("a program");
        let answer = test_run(found, frame, gso, 1);
        // TC_ACT_UNSPEC: whatever it is, the packet goes on to the next program.
        assert_eq!(answer.cast_signed(), -1, "{name} let the packet pass on");
    }

    /// Runs a cgroup_skb program once; the frame's link header is taken off before.
    pub fn run_pod(&mut self, name: &str, frame: &[u8], gso: Gso) {
        let found = program::<CgroupSkb>(&mut self.ebpf, name).expect("a program");
        assert_eq!(
            test_run(found, frame, gso, 1),
            1,
            "{name} let the packet pass"
        );
    }

    /// Closes the generation and takes what it held.
    pub fn drain(&mut self) -> Drained {
        let closed = self.maps.flip().expect("a flip");
        let drained = self.maps.collect(closed).expect("a drained generation");
        assert_eq!(drained.orphans, 0, "every slot's flow has a record");
        drained
    }

    /// What the programs said since the start.
    pub fn messages(&mut self) -> Vec<String> {
        self.logger.flush();
        self.log
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Constants for a rig, with VXLAN and Geneve at their assigned ports.
fn parameters(max_flows: u32) -> Parameters {
    use std::os::unix::fs::MetadataExt;
    let namespace = std::fs::metadata("/proc/thread-self/ns/net").expect("a network namespace");
    let port = |kind, port| TunnelPort { kind, port };
    Parameters {
        netns_inode: namespace.ino() as u32,
        ticks_per_second: 250,
        max_flows,
        http: true,
        tunnel_ports: vec![
            port(TunnelKind::Vxlan, 4789),
            port(TunnelKind::Geneve, 6081),
        ],
        processors: None,
    }
}

/// Runs a program; returns its verdict.
pub fn test_run<P>(program: &P, frame: &[u8], gso: Gso, repeat: u32) -> u32
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let mut context = [0u8; CONTEXT_LENGTH];
    context[GSO_SEGS..GSO_SEGS + 4].copy_from_slice(&gso.segments.to_ne_bytes());
    context[GSO_SIZE..GSO_SIZE + 4].copy_from_slice(&gso.size.to_ne_bytes());
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat,
        ..TestRunOptions::new()
    };
    program.test_run(options).expect("a test run").return_value
}

/// The only IPv4 flow.
pub fn only4(drained: &Drained) -> (FlowKey4, FlowRecord) {
    assert_eq!(drained.flows4.len(), 1, "{drained:?}");
    assert!(
        drained.flows6.is_empty() && drained.losses.is_empty(),
        "{drained:?}"
    );
    let (key, record) = drained.flows4.iter().next().expect("one");
    (*key, *record)
}

/// The only IPv6 flow.
pub fn only6(drained: &Drained) -> (FlowKey6, FlowRecord) {
    assert_eq!(drained.flows6.len(), 1, "{drained:?}");
    assert!(
        drained.flows4.is_empty() && drained.losses.is_empty(),
        "{drained:?}"
    );
    let (key, record) = drained.flows6.iter().next().expect("one");
    (*key, *record)
}

/// The only loss, where no flow was counted.
pub fn only_loss(drained: &Drained) -> (LossKey, LossCount) {
    assert!(
        drained.flows4.is_empty() && drained.flows6.is_empty(),
        "{drained:?}"
    );
    assert_eq!(drained.losses.len(), 1, "{drained:?}");
    drained.losses[0]
}

/// Packets, bytes, buffers, bytes of buffers.
pub fn amounts(record: &FlowRecord) -> (u64, u64, u64, u64) {
    (
        record.packets,
        record.bytes,
        record.buffers,
        record.buffer_bytes,
    )
}
