//! The programs that charge processor time, while a datagram goes back and forth on the loopback.

use std::net::{Ipv4Addr, UdpSocket};

use aya::sys::{Stats, enable_stats};
use probe_user::attach::{Hooks, TcPath, cpu::RunTime};
use probe_user::loader::{Parameters, ProcessorParameters, load_common};

use crate::figure::{Figure, median};
use crate::veth::ip;

/// Datagrams that go there and come back, in all rounds together.
const DATAGRAMS: u32 = 200_000;

/// What charging processor time costs.
pub struct Processors {
    softirq: Cost,
    switch: Cost,
}

/// Run time by the kernel's statistics, which count the taking of them as well, and net of what they
/// say of a program that leaves at once.
struct Cost {
    ns: f64,
    net_ns: f64,
}

impl Processors {
    /// Softirqs a second that the share of a CPU is told for, and as many switches.
    const RATE: f64 = 100_000.0;

    /// What it comes to at a high rate.
    pub fn share(&self) -> String {
        let percent = |cost: &Cost| {
            let of = |ns: f64| ns * Self::RATE / 1e7;
            format!(
                "{:.2} % of one CPU (net {:.2} %)",
                of(cost.ns),
                of(cost.net_ns)
            )
        };
        format!(
            "at {} network softirqs a second their charging takes {}, at as many switches {}",
            Self::RATE,
            percent(&self.softirq),
            percent(&self.switch)
        )
    }

    /// The lines of the table.
    pub fn figures(&self) -> [Figure; 2] {
        let figure = |program: &str, cost: &Cost| Figure {
            program: program.to_owned(),
            flows: 1,
            ns_per_packet: cost.ns,
            ns_net_of_noop: Some(cost.net_ns),
        };
        [
            figure("softirq (entry and exit)", &self.softirq),
            figure("cpu_switch", &self.switch),
        ]
    }
}

/// The run time of the programs that charge processor time, while a datagram goes back and forth
/// between two threads: each way is a softirq and a switch or two.
pub fn back_and_forth(rounds: usize) -> anyhow::Result<Processors> {
    use std::os::unix::fs::MetadataExt;
    ip(&["link", "set", "lo", "up"])?;
    let parameters = Parameters {
        netns_inode: std::fs::metadata("/proc/thread-self/ns/net")?.ino() as u32,
        ticks_per_second: 250,
        max_flows: 1,
        http: false,
        tunnel_ports: Vec::new(),
        processors: Some(ProcessorParameters::new(false)),
    };
    let mut hooks = Hooks::new(load_common(&parameters)?, TcPath::of_kernel());
    // Nothing is asked of the wire hook here.
    hooks.attach_wire()?;
    hooks.attach_processors(true)?;
    for cpu in 0..std::thread::available_parallelism()?.get() {
        hooks.settle(cpu as u32)?;
    }
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut samples: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        let before = hooks.run_times();
        echo_back(DATAGRAMS / rounds as u32)?;
        let after = hooks.run_times();
        let mean = |name: &str| {
            let of = |runs: &[RunTime]| {
                let found = runs.iter().find(|run| run.program == name);
                found.map_or((0, 0), |run| (run.time.as_nanos(), run.runs))
            };
            let (from, to) = (of(&before), of(&after));
            (to.0 - from.0) as f64 / (to.1 - from.1) as f64
        };
        let least = mean("wire");
        let softirq = mean("softirq_entry") + mean("softirq_exit");
        let switch = mean("cpu_switch");
        let values = [softirq, softirq - 2.0 * least, switch, switch - least];
        for (of, value) in samples.iter_mut().zip(values) {
            of.push(value);
        }
    }
    let cost = |at: usize| Cost {
        ns: median(&samples[at]),
        net_ns: median(&samples[at + 1]),
    };
    Ok(Processors {
        softirq: cost(0),
        switch: cost(2),
    })
}

/// Sends a datagram to a thread that sends it back, so many times.
fn echo_back(times: u32) -> anyhow::Result<()> {
    let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || -> std::io::Result<()> {
            let mut datagram = [0; 64];
            for _ in 0..times {
                far.recv(&mut datagram)?;
                far.send(&datagram)?;
            }
            Ok(())
        });
        let mut datagram = [0; 64];
        for _ in 0..times {
            near.send(&datagram)?;
            near.recv(&mut datagram)?;
        }
        match echo.join() {
            Ok(ended) => Ok(ended?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
