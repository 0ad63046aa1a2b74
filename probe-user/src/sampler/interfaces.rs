//! Hooks on interfaces that appear and go, kept at the head of their chains, and where pairing takes
//! place.

use std::collections::{BTreeMap, BTreeSet};

use probe_abi::flow::hook;
use trace_schema::flows::NatState;
use tracing::{info, warn};

use super::Sampler;
use crate::{
    aggregate::{Interface, books::Edge},
    attach::{self, Followers, Standing},
    interfaces::{Chosen, Role, follow::Change},
};

impl Sampler {
    pub(super) fn attach(&mut self, chosen: &Chosen) -> anyhow::Result<()> {
        let index = chosen.link.index;
        let before = self
            .netlink
            .counters()?
            .get(&index)
            .copied()
            .unwrap_or_default();
        self.hooks.attach(chosen)?;
        let after = self
            .netlink
            .counters()?
            .get(&index)
            .copied()
            .unwrap_or(before);
        self.edges.insert(index, Edge { before, after });
        self.fresh.insert(index);
        info!(interface = %chosen.link.name, role = ?chosen.role, "hooks attached");
        Ok(())
    }

    /// Hooks what appeared, forgets what went, and keeps ours at the head of every chain.
    pub(super) fn follow_interfaces(&mut self) -> anyhow::Result<()> {
        let survey = self.netlink.survey()?;
        for change in self.follow.step(&survey) {
            match change {
                // Attached below, like those that could not be before.
                Change::Appeared(_) => {}
                Change::Gone(chosen) => {
                    info!(interface = %chosen.link.name, "interface gone");
                    self.edges.remove(&chosen.link.index);
                    self.hooks.forget(chosen.link.index);
                }
                Change::Renamed { from, to } => {
                    info!(%from, to = %to.link.name, "interface renamed");
                    self.hooks.rename(to.link.index, &to.link.name);
                }
            }
        }
        for chosen in self.follow.chosen().to_vec() {
            if !self.hooks.is_attached(chosen.link.index)
                && let Err(error) = self.attach(&chosen)
            {
                warn!("cannot follow {}: {error:#}", chosen.link.name);
            }
        }
        for (interface, moved) in self.hooks.keep_first(&mut self.netlink)? {
            match moved {
                Ok(()) => {
                    warn!(%interface, "another program had gone before ours or taken it off: it is first again");
                }
                Err(error) => {
                    warn!(%interface, "another program has gone before ours or taken it off: {error:#}");
                }
            }
        }
        // Our own programs' coming and going changes chains too.
        self.standings = self.standings();
        self.choose_where_to_pair()?;
        self.refresh_interfaces();
        Ok(())
    }

    /// Who else is in the uplinks' chains now.
    pub(super) fn standings(&mut self) -> BTreeMap<u32, Standing> {
        let uplinks = self.follow.chosen().iter();
        let uplinks = uplinks.filter(|chosen| chosen.role == Role::Uplink);
        let indices = uplinks.map(|chosen| chosen.link.index).collect::<Vec<_>>();
        let standing = |index| {
            // Legacy filters run behind tcx programs as well.
            let filters = self.netlink.has_other_egress_filters(index, attach::HANDLE);
            (index, self.hooks.standing(index, filters.unwrap_or(true)))
        };
        indices.into_iter().map(standing).collect()
    }

    /// Uplinks whose addresses, in the interval that was just closed, may not be those that left: a
    /// program came into the chain behind a hook that looked at packets itself. The packets that
    /// were still looked at so after the interval's end are the next one's, which is doubted too.
    pub(super) fn doubt_chains(&mut self) -> BTreeSet<u32> {
        let now = self.standings();
        let changed = now.iter().filter(|&(index, standing)| {
            let known = self.standings.get(index);
            known.is_some_and(|known| known.followers == Followers::None && known != standing)
        });
        let changed = changed.map(|(&index, _)| index).collect::<BTreeSet<_>>();
        for index in &changed {
            if let Some(interface) = self.interfaces.get_mut(index) {
                warn!(interface = %interface.name, "the programs behind the egress hook changed: what left is not certain");
                interface.egress_nat = NatState::Undetermined;
            }
        }
        let news = if self.pairs_at_uplink {
            changed
        } else {
            BTreeSet::new()
        };
        let carried = std::mem::replace(&mut self.doubtful, news);
        carried.union(&self.doubtful).copied().collect()
    }

    /// Uplinks behind whose egress hook nothing follows see packets as they leave, and the wire hook
    /// may stay off: it costs every packet of the machine something.
    pub(super) fn choose_where_to_pair(&mut self) -> anyhow::Result<()> {
        let at_uplink = self
            .standings
            .values()
            .all(|standing| standing.followers == Followers::None);
        if !at_uplink {
            self.hooks.attach_wire()?;
        }
        if at_uplink != self.pairs_at_uplink {
            self.maps.pair_at_uplink(at_uplink)?;
            self.pairs_at_uplink = at_uplink;
            info!(at = if at_uplink { "uplink" } else { "wire" }, "pairing");
        }
        if at_uplink {
            self.hooks.detach_wire()?;
        }
        Ok(())
    }

    pub(super) fn refresh_interfaces(&mut self) {
        let chosen = self.follow.chosen().to_vec();
        self.interfaces = chosen
            .iter()
            .map(|chosen| {
                let standing = self.standings.get(&chosen.link.index);
                let egress_nat = match standing.map(|standing| standing.followers) {
                    Some(Followers::None) => NatState::Post,
                    _ => NatState::Undetermined,
                };
                let interface = Interface {
                    name: chosen.link.name.clone(),
                    egress_nat,
                    link_header_bytes: i32::from(chosen.link.link_header_bytes),
                    virtual_function: chosen.link.virtual_function.clone(),
                };
                (chosen.link.index, interface)
            })
            .collect();
    }

    /// Hook codes with the interface index, for the ledger.
    pub(super) fn hook_places(&self) -> Vec<(u8, u32)> {
        let mut places = vec![(hook::POD_EGRESS, 0), (hook::POD_INGRESS, 0)];
        // A hook that could not be attached has no row: nobody was watching there.
        let watched = |chosen: &&Chosen| self.hooks.is_attached(chosen.link.index);
        for chosen in self.follow.chosen().iter().filter(watched) {
            let index = chosen.link.index;
            match chosen.role {
                Role::Uplink => places.extend([
                    (hook::UPLINK_EGRESS, index),
                    (hook::UPLINK_INGRESS, index),
                    (hook::WIRE, index),
                ]),
                Role::Tunnel => places.push((hook::TUNNEL_INGRESS, index)),
            }
        }
        places
    }
}
