//! The programs that charge processor time, while a datagram goes back and forth on the loopback.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::Context;
use aya::sys::{Stats, enable_stats};
use probe_user::attach::calling::Nothing;
use probe_user::attach::{Hooks, TcPath, cpu::RunTime};
use probe_user::cgroups;
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

/// In nanoseconds, from medians over the rounds.
struct Cost {
    /// Run time by the kernel's statistics, which count a part of their own work as well.
    run_time: f64,
    /// Net of what they say of a program that does nothing.
    net: f64,
    /// With the way to the programs and back, and without statistics.
    as_called: f64,
}

impl Cost {
    /// Of so many programs, each of which runs once.
    fn new(run_times: &[f64], programs: u64, nothing: &Nothing) -> Self {
        let run_time = median(run_times);
        Self {
            run_time,
            net: run_time - programs as f64 * nothing.run_time,
            as_called: nothing.as_called(run_time, programs),
        }
    }
}

impl Processors {
    /// Softirqs a second that the share of a CPU is told for, and as many switches.
    const RATE: f64 = 100_000.0;

    /// What it comes to at a high rate.
    pub fn share(&self) -> String {
        let percent = |cost: &Cost| {
            let of = |ns: f64| ns * Self::RATE / 1e7;
            format!(
                "{:.2} % of one CPU as called (net of a no-op {:.2} %)",
                of(cost.as_called),
                of(cost.net)
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
            ns_per_packet: cost.run_time,
            ns_net_of_noop: Some(cost.net),
            ns_as_called: Some(cost.as_called),
        };
        [
            figure("softirq (entry and exit)", &self.softirq),
            figure("cpu_switch", &self.switch),
        ]
    }
}

/// The run time of the programs that charge processor time, while a datagram goes back and forth
/// between two threads: each way is a softirq and a switch or two. What the way to a program takes is
/// measured before, in the same run.
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
    let mounts = cgroups::mounts()?;
    let nothing = hooks.measure_calls(&cgroups::own(&mounts[0])?)?.tracepoint;
    hooks.attach_processors(true)?;
    for cpu in 0..std::thread::available_parallelism()?.get() {
        hooks.settle(cpu as u32)?;
    }
    let _statistics = enable_stats(Stats::RunTime)?;
    let (mut softirqs, mut switches) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = hooks.run_times();
        echo_back(DATAGRAMS / rounds as u32)?;
        let after = hooks.run_times();
        let mean = |name: &str| mean_run_time(name, &before, &after);
        softirqs.push(mean("softirq_entry")? + mean("softirq_exit")?);
        switches.push(mean("cpu_switch")?);
    }
    Ok(Processors {
        softirq: Cost::new(&softirqs, 2, &nothing),
        switch: Cost::new(&switches, 1, &nothing),
    })
}

/// Nanoseconds that a run of a program took on average between two readings of the statistics.
fn mean_run_time(name: &str, before: &[RunTime], after: &[RunTime]) -> anyhow::Result<f64> {
    let of = |runs: &[RunTime]| {
        let found = runs.iter().find(|run| run.program == name);
        found
            .map(|run| (run.time, run.runs))
            .with_context(|| format!("{name} is not loaded"))
    };
    let (from, to) = (of(before)?, of(after)?);
    anyhow::ensure!(to.1 > from.1, "{name} did not run");
    Ok((to.0 - from.0).as_nanos() as f64 / (to.1 - from.1) as f64)
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
