//! The configuration of a run, validated.
//!
//! It holds no `Option` where a default exists and refuses values that make no sense, by the name
//! of their flag. It refuses to look at the machine beyond its host name: whether interfaces and
//! cgroups are there is for [`crate::interfaces`] and [`crate::cgroups`] to say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use trace_schema::store::{StoreUrl, StoreUrlError};

use crate::cli::{Cycles, KernelWide, LogFormat, RunArgs, ShippingArgs, Switch};
use crate::ship::Destination;

/// Shortest interval: below it, draining the maps costs more than counting.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
/// Longest interval, so that a SIGKILL never loses more than this.
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
/// Largest flow map that the probe will ask the kernel for.
const MOST_FLOWS: u32 = 1 << 24;
/// Size of the spool where files are shipped: some days of a quiet node, some hours of a busy one.
const SPOOL_LIMIT_BYTES: u64 = 1 << 30;
/// Tunnel ports where none is given: IANA's VXLAN port, Linux's and Cilium's, and Geneve's.
const DEFAULT_TUNNEL_PORTS: [TunnelPort; 3] = [
    TunnelPort {
        kind: TunnelKind::Vxlan,
        port: 4789,
    },
    TunnelPort {
        kind: TunnelKind::Vxlan,
        port: 8472,
    },
    TunnelPort {
        kind: TunnelKind::Geneve,
        port: 6081,
    },
];

/// What `run` does, every value checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name of the node in every row; fit for a file name.
    pub node: String,
    /// Root of the dataset.
    pub output: PathBuf,
    /// Length of an interval.
    pub interval: Duration,
    /// When to stop by itself; absent: when told to.
    pub duration: Option<Duration>,
    /// cgroup v2 directory to watch; absent: to be found.
    pub cgroup: Option<PathBuf>,
    /// cgroup v2 directory below which the node's own tasks are; absent: the mount's root.
    pub cgroup_root: Option<PathBuf>,
    /// Uplinks by name; empty: to be found.
    pub uplinks: Vec<String>,
    /// Tunnels by name; empty: to be found.
    pub tunnels: Vec<String>,
    /// Capacity of each flow map.
    pub max_flows: u32,
    /// UDP ports that mean a tunnel's outer packet.
    pub tunnel_ports: Vec<TunnelPort>,
    /// Whether `resources` is written.
    pub resources: bool,
    /// Samples a second and CPU, if stacks are sampled.
    pub profile_hz: Option<u32>,
    /// Whether HTTP responses are counted.
    pub http: bool,
    /// Whether processor time is charged.
    pub cpu: bool,
    /// What to count as cycles.
    pub cycles: Cycles,
    /// Whether the run time of the probe's own programs is measured.
    pub measure_self: bool,
    /// Who writes what concerns the whole kernel.
    pub kernel_wide: KernelWide,
    /// Directory to lock for it.
    pub kernel_wide_lock: PathBuf,
    /// Where to serve `/metrics` and `/healthz`, if at all.
    pub metrics_listen: Option<SocketAddr>,
    /// File to make once every hook is attached, if any.
    pub ready_file: Option<PathBuf>,
    /// How often small files are merged.
    pub merge_every: Duration,
    /// Where files go.
    pub shipping: Shipping,
    /// Form of the log.
    pub log_format: LogFormat,
}

/// Where files go, and how many may wait.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shipping {
    /// Where to ship to, if anywhere.
    pub destination: Option<Destination>,
    /// Size that the spool may have, if it is limited.
    pub spool_limit_bytes: Option<u64>,
}

/// A UDP port and the tunnel protocol that it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelPort {
    /// The protocol.
    pub kind: TunnelKind,
    /// UDP destination port of outer packets.
    pub port: u16,
}

/// Tunnel protocols that are known by their UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
}

/// A flag whose value cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {value:?}: {reason}")]
pub struct Invalid {
    /// The flag.
    pub flag: &'static str,
    /// What was given.
    pub value: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl Config {
    /// Checks the typed text; `host_name` names the node where nothing else does.
    pub fn new(arguments: RunArgs, host_name: &str) -> Result<Self, Invalid> {
        let interval = within(
            "--interval",
            arguments.interval,
            SHORTEST_INTERVAL,
            LONGEST_INTERVAL,
        )?;
        if let Some(duration) = arguments.duration {
            within("--duration", duration, SHORTEST_INTERVAL, Duration::MAX)?;
        }
        Ok(Self {
            node: node(arguments.node.as_deref().unwrap_or(host_name))?,
            output: arguments.output,
            interval,
            duration: arguments.duration,
            cgroup: arguments.cgroup,
            cgroup_root: arguments.cgroup_root,
            uplinks: interface_names("--uplink", arguments.uplinks)?,
            tunnels: interface_names("--tunnel", arguments.tunnels)?,
            max_flows: max_flows(arguments.max_flows)?,
            tunnel_ports: tunnel_ports(&arguments.tunnel_ports)?,
            resources: arguments.resources == Switch::On,
            profile_hz: arguments.profile.map(profile_hz).transpose()?,
            http: arguments.http == Switch::On,
            cpu: arguments.cpu == Switch::On,
            cycles: arguments.cycles,
            measure_self: arguments.measure_self,
            kernel_wide: arguments.kernel_wide,
            kernel_wide_lock: arguments.kernel_wide_lock,
            metrics_listen: arguments.metrics_listen,
            ready_file: arguments.ready_file,
            merge_every: within(
                "--merge-every",
                arguments.merge_every,
                interval,
                Duration::MAX,
            )?,
            shipping: Shipping::new(arguments.shipping)?,
            log_format: arguments.log_format,
        })
    }
}

impl Shipping {
    /// Checks the typed text.
    pub fn new(arguments: ShippingArgs) -> Result<Self, Invalid> {
        let url = arguments.store.map(|text| store(&text)).transpose()?;
        let is_shipped = url.is_some();
        Ok(Self {
            destination: url.map(|url| Destination {
                url,
                bytes_per_second: arguments.ship_rate,
            }),
            spool_limit_bytes: arguments
                .spool_limit
                .or(is_shipped.then_some(SPOOL_LIMIT_BYTES)),
        })
    }
}

/// What was given is not repeated: it may hold a secret.
fn store(text: &str) -> Result<StoreUrl, Invalid> {
    text.parse().map_err(|error: StoreUrlError| Invalid {
        flag: "--store",
        value: "…".to_owned(),
        reason: error.to_string(),
    })
}

/// The node's name becomes part of a path (`node=<name>`) and a column, so it must be what
/// Kubernetes allows for node names, give or take case and underscores.
pub(crate) fn node(name: &str) -> Result<String, Invalid> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let usable = (1..=253).contains(&name.len())
        && name.bytes().all(fits)
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if usable {
        return Ok(name.to_owned());
    }
    Err(Invalid {
        flag: "--node",
        value: name.to_owned(),
        reason: "give letters, digits, '-', '.' and '_' only, beginning with a letter or digit"
            .to_owned(),
    })
}

fn within(
    flag: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, Invalid> {
    let reason = if value < least {
        format!("give at least {}", humantime::format_duration(least))
    } else if value > most {
        format!("give at most {}", humantime::format_duration(most))
    } else {
        return Ok(value);
    };
    Err(Invalid {
        flag,
        value: humantime::format_duration(value).to_string(),
        reason,
    })
}

fn interface_names(flag: &'static str, names: Vec<String>) -> Result<Vec<String>, Invalid> {
    for (position, name) in names.iter().enumerate() {
        let invalid = |reason: &str| Invalid {
            flag,
            value: name.clone(),
            reason: reason.to_owned(),
        };
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0']) {
            return Err(invalid("no interface can have this name"));
        }
        if names[..position].contains(name) {
            return Err(invalid("given twice"));
        }
    }
    Ok(names)
}

fn max_flows(flows: u32) -> Result<u32, Invalid> {
    if (1..=MOST_FLOWS).contains(&flows) {
        return Ok(flows);
    }
    Err(Invalid {
        flag: "--max-flows",
        value: flows.to_string(),
        reason: format!("give 1 to {MOST_FLOWS}"),
    })
}

fn profile_hz(hz: u32) -> Result<u32, Invalid> {
    use crate::profile::MOST_HZ;
    if (1..=MOST_HZ).contains(&hz) {
        return Ok(hz);
    }
    Err(Invalid {
        flag: "--profile",
        value: hz.to_string(),
        reason: format!("give 1 to {MOST_HZ} samples a second"),
    })
}

/// Ports given for a kind replace that kind's defaults and leave the other kind's alone.
fn tunnel_ports(given: &[String]) -> Result<Vec<TunnelPort>, Invalid> {
    let mut ports = Vec::new();
    for text in given {
        let port = tunnel_port(text)?;
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    let replaced: Vec<TunnelKind> = ports.iter().map(|port| port.kind).collect();
    ports.extend(
        DEFAULT_TUNNEL_PORTS
            .iter()
            .filter(|port| !replaced.contains(&port.kind)),
    );
    Ok(ports)
}

fn tunnel_port(text: &str) -> Result<TunnelPort, Invalid> {
    let parsed = text.split_once('=').and_then(|(kind, port)| {
        let kind = match kind {
            "vxlan" => TunnelKind::Vxlan,
            "geneve" => TunnelKind::Geneve,
            _ => return None,
        };
        let port = port.parse().ok().filter(|&port| port != 0)?;
        Some(TunnelPort { kind, port })
    });
    parsed.ok_or_else(|| Invalid {
        flag: "--tunnel-port",
        value: text.to_owned(),
        reason: "give vxlan=PORT or geneve=PORT".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Command};
    use crate::profile::DEFAULT_HZ;

    fn config(flags: &[&str]) -> Result<Config, Invalid> {
        let all = ["weighbridge-probe", "run", "--output", "data"]
            .iter()
            .chain(flags)
            .map(std::ffi::OsString::from);
        let Command::Run(arguments) = cli::parse(all).expect("the flags parse").command else {
            panic!("not run");
        };
        Config::new(*arguments, "host-1")
    }

    fn check_invalid(flags: &[&str]) {
        let error = config(flags).expect_err("the flags are wrong");
        assert_eq!(error.flag, flags[0]);
        assert_eq!(error.to_string().lines().count(), 1);
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = config(&[]).unwrap();
        assert!(config.node == "host-1" || std::env::var_os("NODE_NAME").is_some());
        assert_eq!(config.interval, Duration::from_secs(1));
        assert_eq!(config.merge_every, Duration::from_secs(300));
        assert_eq!(config.tunnel_ports, DEFAULT_TUNNEL_PORTS);
        assert!(config.resources);
        assert_eq!(config.profile_hz, None);
    }

    #[test]
    fn a_profile_without_a_number_has_the_default_frequency() {
        assert_eq!(config(&["--profile"]).unwrap().profile_hz, Some(DEFAULT_HZ));
        let twice = config(&["--profile", "999", "--resources", "off"]).unwrap();
        assert_eq!((twice.profile_hz, twice.resources), (Some(999), false));
    }

    #[test]
    fn given_tunnel_ports_replace_the_defaults_of_their_kind() {
        let ports = config(&["--tunnel-port", "vxlan=8473"])
            .unwrap()
            .tunnel_ports;
        let expected = [
            TunnelPort {
                kind: TunnelKind::Vxlan,
                port: 8473,
            },
            TunnelPort {
                kind: TunnelKind::Geneve,
                port: 6081,
            },
        ];
        assert_eq!(ports, expected);
    }

    #[test]
    fn a_spool_is_limited_where_files_leave_it() {
        let limit = |flags: &[&str]| config(flags).unwrap().shipping.spool_limit_bytes;
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&["--store", "s3://bucket/prefix"]), Some(1 << 30));
        assert_eq!(limit(&["--spool-limit", "5MiB"]), Some(5 << 20));
    }

    #[test]
    fn a_secret_in_a_store_s_url_is_refused_and_not_repeated() {
        let error = config(&["--store", "az://me:secret-word@container/x"]).unwrap_err();
        assert_eq!(error.flag, "--store");
        assert!(!error.to_string().contains("secret-word"), "{error}");
    }

    #[test]
    fn unusable_values_name_their_flag() {
        check_invalid(&["--node", "../up"]);
        check_invalid(&["--node", ""]);
        check_invalid(&["--node", "a b"]);
        check_invalid(&["--interval", "1ms"]);
        check_invalid(&["--interval", "2h"]);
        check_invalid(&["--duration", "0s"]);
        check_invalid(&["--merge-every", "500ms"]);
        check_invalid(&["--max-flows", "0"]);
        check_invalid(&["--profile", "0"]);
        check_invalid(&["--profile", "10000"]);
        check_invalid(&["--tunnel-port", "vxlan"]);
        check_invalid(&["--tunnel-port", "vxlan=0"]);
        check_invalid(&["--tunnel-port", "gre=1"]);
        check_invalid(&["--uplink", "a-name-that-is-too-long"]);
        check_invalid(&["--uplink", "eth0", "--uplink", "eth0"]);
    }
}
