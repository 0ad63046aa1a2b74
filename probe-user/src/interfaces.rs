//! Network interfaces of the network namespace that the process is in, and which of them matter.
//!
//! Everything is asked of rtnetlink, never of `/sys/class/net`, which shows the namespace that
//! sysfs was mounted in. It holds the choice of uplinks and tunnels, which is pure; asking is in
//! [`netlink`], what changed between two answers in [`follow`]. It refuses to attach anything.

pub mod follow;
pub mod netlink;

use std::fmt;

/// Kinds of links out of which other nodes' pods arrive, as rtnetlink names them.
const TUNNEL_KINDS: [&str; 15] = [
    "vxlan",
    "geneve",
    "wireguard",
    "ipip",
    "ip6tnl",
    "sit",
    "gre",
    "gretap",
    "ip6gre",
    "ip6gretap",
    "erspan",
    "ip6erspan",
    "vti",
    "vti6",
    "xfrm",
];

/// What a hook is to do at a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Traffic leaves the node here.
    Uplink,
    /// Inner packets arrive here.
    Tunnel,
}

impl Role {
    /// The flag by which a user names such links.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Uplink => "--uplink",
            Self::Tunnel => "--tunnel",
        }
    }
}

/// A link as rtnetlink describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index; unique within the network namespace only.
    pub index: u32,
    /// Name; may change.
    pub name: String,
    /// Kind of a virtual link (`veth`, `vxlan`, …); absent for devices with a driver of their own.
    pub kind: Option<String>,
    /// Length of the link-layer header that the kernel's counters include.
    pub link_header_bytes: u8,
    /// Whether it is Ethernet.
    pub is_ethernet: bool,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// Index of the bridge, bond or team that it is a port of.
    pub controller: Option<u32>,
    /// Hardware address; empty where there is none.
    pub hardware_address: Vec<u8>,
    /// Name of the virtual function that the device's driver sends and receives by, if it does
    /// (`hv_netvsc` with accelerated networking).
    pub virtual_function: Option<String>,
    /// Whether an XDP program is attached: what it takes, no hook sees.
    pub has_xdp: bool,
    /// Whether it has an IPv4 or IPv6 address of global scope.
    pub has_global_address: bool,
    /// Whether an IPv4 or IPv6 default route of the main table leads out of it.
    pub has_default_route: bool,
}

/// The links of the namespace at one time, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The links.
    pub links: Vec<Link>,
}

/// A link with what it was chosen for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What for.
    pub role: Role,
    /// The link.
    pub link: Link,
}

/// Why links could not be chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// A name that was given is not there.
    #[error("{} {name}: no such interface in this network namespace; there are {there}", role.flag())]
    Named {
        /// What it was to be.
        role: Role,
        /// The name.
        name: String,
        /// What there is.
        there: Names,
    },
    /// Nothing looks like an uplink.
    #[error(
        "no uplink found: no default route and no device with a global address; \
         give --uplink; there are {there}"
    )]
    Uplink {
        /// What there is.
        there: Names,
    },
}

/// Interface names for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => formatter.write_str("none"),
            names => formatter.write_str(&names.join(", ")),
        }
    }
}

impl Link {
    /// Whether it is a tunnel in use; the kernel's own fallback devices (`tunl0`, `gre0`) are down.
    pub fn is_tunnel(&self) -> bool {
        self.is_up && self.has_tunnel_kind()
    }

    /// Whether traffic leaves the node by it: the way of a default route, or a device with a
    /// driver and an address of its own (a second network). A tunnel's outer packets leave by
    /// another link, which is the uplink.
    pub fn is_uplink(&self) -> bool {
        let second_network = self.is_physical()
            && self.is_up
            && self.has_global_address
            && self.controller.is_none();
        !self.has_tunnel_kind() && (self.has_default_route || second_network)
    }

    fn is_physical(&self) -> bool {
        self.kind.is_none() && self.is_ethernet
    }

    fn has_tunnel_kind(&self) -> bool {
        self.kind
            .as_deref()
            .is_some_and(|kind| TUNNEL_KINDS.contains(&kind))
    }
}

impl Survey {
    /// The links with what they are to each other.
    pub(crate) fn new(links: Vec<Link>) -> Self {
        let mut survey = Self { links };
        survey.find_virtual_functions();
        survey
    }

    /// Tells devices of their virtual functions: a device with a driver of its own that another such
    /// device controls. Bridges, bonds and teams have a kind.
    fn find_virtual_functions(&mut self) {
        let physical = self.links.iter().filter(|link| link.is_physical());
        let functions: Vec<(u32, String)> = physical
            .filter_map(|link| Some((link.controller?, link.name.clone())))
            .collect();
        for (controller, name) in functions {
            let device = self.links.iter_mut().find(|link| link.index == controller);
            if let Some(device) = device.filter(|device| device.is_physical()) {
                device.virtual_function = Some(name);
            }
        }
    }

    /// The link of that name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The named links, or where none is named those that look the part. Named ones must be there,
    /// and there must be an uplink.
    pub fn choose(&self, uplinks: &[String], tunnels: &[String]) -> Result<Vec<Chosen>, NotFound> {
        let mut chosen = self.choose_role(Role::Uplink, uplinks)?;
        if chosen.is_empty() {
            return Err(NotFound::Uplink {
                there: self.names(),
            });
        }
        chosen.extend(self.choose_role(Role::Tunnel, tunnels)?);
        Ok(chosen)
    }

    fn choose_role(&self, role: Role, names: &[String]) -> Result<Vec<Chosen>, NotFound> {
        if names.is_empty() {
            return Ok(self.found(role).collect());
        }
        let named = |name: &String| match self.named(name) {
            Some(link) => Ok(Chosen {
                role,
                link: link.clone(),
            }),
            None => Err(NotFound::Named {
                role,
                name: name.clone(),
                there: self.names(),
            }),
        };
        names.iter().map(named).collect()
    }

    /// Links that look the part.
    fn found(&self, role: Role) -> impl Iterator<Item = Chosen> + '_ {
        let fits = move |link: &&Link| match role {
            Role::Uplink => link.is_uplink(),
            Role::Tunnel => link.is_tunnel(),
        };
        self.links.iter().filter(fits).map(move |link| Chosen {
            role,
            link: link.clone(),
        })
    }

    fn names(&self) -> Names {
        Names(self.links.iter().map(|link| link.name.clone()).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn link(index: u32, name: &str, kind: Option<&str>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            link_header_bytes: 14,
            is_ethernet: true,
            is_up: true,
            controller: None,
            virtual_function: None,
            hardware_address: vec![2, 0, 0, 0, 0, index as u8],
            has_xdp: false,
            has_global_address: false,
            has_default_route: false,
        }
    }

    fn node() -> Survey {
        let loopback = Link {
            is_ethernet: false,
            ..link(1, "lo", None)
        };
        let eth0 = Link {
            has_default_route: true,
            has_global_address: true,
            ..link(2, "eth0", None)
        };
        let storage = Link {
            has_global_address: true,
            ..link(3, "eth1", None)
        };
        let unused = link(4, "eth2", None);
        let port = Link {
            controller: Some(9),
            has_global_address: true,
            ..link(5, "vf0", None)
        };
        let pod = Link {
            has_global_address: true,
            ..link(6, "veth1", Some("veth"))
        };
        let vxlan = link(7, "flannel.1", Some("vxlan"));
        let fallback = Link {
            is_up: false,
            ..link(8, "tunl0", Some("ipip"))
        };
        let vpn = Link {
            has_default_route: true,
            ..link(10, "wg0", Some("wireguard"))
        };
        Survey {
            links: vec![
                loopback, eth0, storage, unused, port, pod, vxlan, fallback, vpn,
            ],
        }
    }

    #[test]
    fn a_devices_virtual_function_is_known_and_a_bonds_port_is_none() {
        let port_of = |controller: u32, index: u32, name: &str| Link {
            controller: Some(controller),
            ..link(index, name, None)
        };
        let survey = Survey::new(vec![
            link(2, "eth0", None),
            port_of(2, 3, "enP1s0"),
            link(4, "bond0", Some("bond")),
            port_of(4, 5, "eth1"),
        ]);
        let functions = survey.links.iter();
        let functions: Vec<_> = functions
            .map(|link| link.virtual_function.as_deref())
            .collect();
        assert_eq!(functions, [Some("enP1s0"), None, None, None]);
    }

    fn check(survey: &Survey, uplinks: &[&str], tunnels: &[&str], expected: &[(Role, &str)]) {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let chosen = survey.choose(&owned(uplinks), &owned(tunnels)).unwrap();
        let chosen: Vec<_> = chosen
            .iter()
            .map(|chosen| (chosen.role, chosen.link.name.as_str()))
            .collect();
        assert_eq!(chosen, expected);
    }

    #[test]
    fn uplinks_and_tunnels_are_found_by_what_they_are() {
        use Role::{Tunnel, Uplink};
        let expected = [
            (Uplink, "eth0"),
            (Uplink, "eth1"),
            (Tunnel, "flannel.1"),
            (Tunnel, "wg0"),
        ];
        check(&node(), &[], &[], &expected);
        check(
            &node(),
            &["veth1"],
            &["tunl0"],
            &[(Uplink, "veth1"), (Tunnel, "tunl0")],
        );
    }

    #[test]
    fn a_virtual_link_with_the_default_route_is_an_uplink() {
        let veth = Link {
            has_default_route: true,
            ..link(2, "eth0", Some("veth"))
        };
        check(
            &Survey { links: vec![veth] },
            &[],
            &[],
            &[(Role::Uplink, "eth0")],
        );
    }

    #[test]
    fn what_is_not_there_is_named_with_what_there_is() {
        let error = node()
            .choose(&["eth0".into()], &["vxlan9".into()])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("--tunnel vxlan9: no such interface"),
            "{error}"
        );
        assert!(error.contains("eth0, eth1"), "{error}");
        let error = Survey::default().choose(&[], &[]).unwrap_err().to_string();
        assert!(
            error.contains("--uplink") && error.ends_with("none"),
            "{error}"
        );
    }
}
