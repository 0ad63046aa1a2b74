//! Which of the chosen links appeared, went or changed their name between two surveys.
//!
//! Pure. A link that was chosen once stays chosen while it exists: a default route that flaps must
//! not tear a hole into the books. It refuses to fail on a link that goes: only at the start must
//! named links be there.

use super::{Chosen, Link, NotFound, Role, Survey};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link to hook.
    Appeared(Chosen),
    /// A link whose hooks went with it.
    Gone(Chosen),
    /// The same link under another name.
    Renamed {
        /// The name until now.
        from: String,
        /// The link as it is now.
        to: Chosen,
    },
}

/// The links that are chosen, from survey to survey.
#[derive(Clone, Debug)]
pub struct Follow {
    uplinks: Vec<String>,
    tunnels: Vec<String>,
    known: Vec<Chosen>,
}

impl Follow {
    /// Chooses from the first survey, see [`Survey::choose`].
    pub fn start(
        uplinks: Vec<String>,
        tunnels: Vec<String>,
        survey: &Survey,
    ) -> Result<Self, NotFound> {
        let known = survey.choose(&uplinks, &tunnels)?;
        Ok(Self {
            uplinks,
            tunnels,
            known,
        })
    }

    /// What is chosen now.
    pub fn chosen(&self) -> &[Chosen] {
        &self.known
    }

    /// Compares with the next survey: what went first, then what is new.
    pub fn step(&mut self, survey: &Survey) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut known = Vec::new();
        for chosen in self.known.drain(..) {
            match survey.links.iter().find(|link| is_same(link, &chosen.link)) {
                None => changes.push(Change::Gone(chosen)),
                Some(link) => {
                    let now = Chosen {
                        role: chosen.role,
                        link: link.clone(),
                    };
                    if link.name != chosen.link.name {
                        changes.push(Change::Renamed {
                            from: chosen.link.name,
                            to: now.clone(),
                        });
                    }
                    known.push(now);
                }
            }
        }
        for (role, names) in [(Role::Uplink, &self.uplinks), (Role::Tunnel, &self.tunnels)] {
            for chosen in candidates(survey, role, names) {
                let is_known =
                    |other: &Chosen| other.role == role && other.link.index == chosen.link.index;
                if !known.iter().any(is_known) {
                    changes.push(Change::Appeared(chosen.clone()));
                    known.push(chosen);
                }
            }
        }
        self.known = known;
        changes
    }
}

/// An index may be given again once a link is gone, so what cannot change has to match as well.
fn is_same(link: &Link, known: &Link) -> bool {
    link.index == known.index
        && link.kind == known.kind
        && (link.name == known.name || link.hardware_address == known.hardware_address)
}

fn candidates(survey: &Survey, role: Role, names: &[String]) -> Vec<Chosen> {
    if names.is_empty() {
        return survey.found(role).collect();
    }
    let links = names.iter().filter_map(|name| survey.named(name));
    links
        .map(|link| Chosen {
            role,
            link: link.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::link;
    use super::*;

    fn survey(links: &[Link]) -> Survey {
        Survey {
            links: links.to_vec(),
        }
    }

    fn uplink(index: u32, name: &str) -> Link {
        Link {
            has_default_route: true,
            ..link(index, name, None)
        }
    }

    fn chosen(role: Role, link: &Link) -> Chosen {
        Chosen {
            role,
            link: link.clone(),
        }
    }

    fn follow(links: &[Link]) -> Follow {
        Follow::start(Vec::new(), Vec::new(), &survey(links)).unwrap()
    }

    #[test]
    fn links_that_come_and_go_are_followed() {
        let (eth0, vxlan) = (uplink(2, "eth0"), link(3, "vx0", Some("vxlan")));
        let mut follow = follow(std::slice::from_ref(&eth0));
        assert_eq!(follow.step(&survey(std::slice::from_ref(&eth0))), []);
        let both = survey(&[eth0.clone(), vxlan.clone()]);
        assert_eq!(
            follow.step(&both),
            [Change::Appeared(chosen(Role::Tunnel, &vxlan))]
        );
        assert_eq!(follow.step(&both), []);
        assert_eq!(follow.chosen().len(), 2);
        let gone = follow.step(&survey(&[eth0]));
        assert_eq!(gone, [Change::Gone(chosen(Role::Tunnel, &vxlan))]);
    }

    #[test]
    fn a_new_name_is_no_new_link() {
        let mut follow = follow(&[uplink(2, "eth0")]);
        let renamed = uplink(2, "ens5");
        let expected = Change::Renamed {
            from: "eth0".to_owned(),
            to: chosen(Role::Uplink, &renamed),
        };
        assert_eq!(
            follow.step(&survey(std::slice::from_ref(&renamed))),
            [expected]
        );
        assert_eq!(follow.step(&survey(&[renamed])), []);
    }

    #[test]
    fn an_index_given_again_is_a_new_link() {
        let old = uplink(2, "eth0");
        let mut follow = follow(std::slice::from_ref(&old));
        let new = Link {
            hardware_address: vec![9],
            ..uplink(2, "eth7")
        };
        let changes = follow.step(&survey(std::slice::from_ref(&new)));
        let expected = [
            Change::Gone(chosen(Role::Uplink, &old)),
            Change::Appeared(chosen(Role::Uplink, &new)),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn an_uplink_that_loses_its_route_stays() {
        let mut follow = follow(&[uplink(2, "eth0")]);
        assert_eq!(follow.step(&survey(&[link(2, "eth0", None)])), []);
        assert_eq!(follow.chosen().len(), 1);
    }

    #[test]
    fn a_named_link_may_go_and_come_back() {
        let eth0 = link(2, "eth0", Some("veth"));
        let there = survey(std::slice::from_ref(&eth0));
        let mut follow = Follow::start(vec!["eth0".into()], Vec::new(), &there).unwrap();
        assert_eq!(
            follow.step(&survey(&[])),
            [Change::Gone(chosen(Role::Uplink, &eth0))]
        );
        let back = link(5, "eth0", Some("veth"));
        let changes = follow.step(&survey(std::slice::from_ref(&back)));
        assert_eq!(changes, [Change::Appeared(chosen(Role::Uplink, &back))]);
    }
}
