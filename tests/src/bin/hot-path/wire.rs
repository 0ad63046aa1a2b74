//! The wire hook under real datagrams.

use std::time::Duration;

use aya::programs::{BtfTracePoint, SchedClassifier, TcAttachType};
use aya::sys::{Stats, enable_stats};
use aya::{Btf, Ebpf};
use probe_abi::wire::LOOKUPS_PER_EPOCH;
use probe_user::loader::program;

use crate::figure::{Figure, median};
use crate::test_runs::load;
use crate::veth::Veth;

/// Datagrams sent in all rounds together.
const DATAGRAMS: u32 = 200_000;

/// The wire hook's run time under real datagrams: of a flow that it was not asked about, and of new
/// flows, every packet of which it looks at since none can be paired here.
pub fn under_datagrams(object: &[u8], rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let link = Veth::new()?;
    let mut ebpf = load(object, 1)?;
    let btf = Btf::from_sys_fs()?;
    let wire = program::<BtfTracePoint>(&mut ebpf, "wire")?;
    wire.load("net_dev_queue", &btf)?;
    wire.attach()?;
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut figures = Vec::new();
    for (label, asked) in [("wire (not asked)", false), ("wire (asked)", true)] {
        if asked {
            let uplink = program::<SchedClassifier>(&mut ebpf, "uplink_egress")?;
            uplink.load()?;
            uplink.attach(Veth::NAMES[0], TcAttachType::Egress)?;
        }
        let mut samples = Vec::new();
        for _ in 0..rounds {
            let before = run_time(&mut ebpf)?;
            for _ in 0..DATAGRAMS / rounds as u32 / LOOKUPS_PER_EPOCH {
                link.send(LOOKUPS_PER_EPOCH)?;
            }
            let after = run_time(&mut ebpf)?;
            samples.push((after.0 - before.0).as_nanos() as f64 / (after.1 - before.1) as f64);
        }
        figures.push(Figure {
            program: label.to_owned(),
            flows: 1,
            ns_per_packet: median(&samples),
            ns_net_of_noop: None,
            ns_as_called: None,
        });
    }
    Ok(figures)
}

fn run_time(ebpf: &mut Ebpf) -> anyhow::Result<(Duration, u64)> {
    let info = program::<BtfTracePoint>(ebpf, "wire")?.info()?;
    Ok((info.run_time(), info.run_count()))
}
