//! Filters at a link's clsact qdisc: whether ours is the first, and whether others run behind it.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::{Netlink, NetlinkError};

/// The side of a clsact qdisc that a filter is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What arrives.
    Ingress,
    /// What leaves.
    Egress,
}

/// A filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its priority: the lowest runs first.
    pub priority: u16,
    /// Its handle, which is its own within the priority.
    pub handle: u32,
}

impl Netlink {
    /// The filters on one side of the link, in the order in which they run: by priority, and within
    /// one as the classifier keeps them (`cls_bpf_walk` in net/sched/cls_bpf.c walks the list that
    /// `cls_bpf_classify` does).
    pub fn filters(&mut self, index: u32, side: Side) -> Result<Vec<Filter>, NetlinkError> {
        let mut question = TcMessage::default();
        question.header.index = index.cast_signed();
        // `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)` and its like, include/uapi/linux/pkt_sched.h.
        question.header.parent = TcHandle {
            major: u16::MAX,
            minor: match side {
                Side::Ingress => TcHandle::MIN_INGRESS,
                Side::Egress => TcHandle::MIN_EGRESS,
            },
        };
        let question = RouteNetlinkMessage::GetTrafficFilter(question);
        let filters = self.dump("filters", question, |answer| match answer {
            // Packets begin at chain 0; others are only jumped to.
            RouteNetlinkMessage::NewTrafficFilter(message) if chain(&message) == 0 => {
                Some(Filter {
                    // `TC_H_MAJ`: the priority stands above the protocol.
                    priority: (message.header.info >> 16) as u16,
                    handle: u32::from(message.header.handle),
                })
            }
            _ => None,
        })?;
        // Each priority is told with a handle of zero as well, before its filters.
        let is_filter = |filter: &Filter| filter.handle != 0;
        Ok(filters.into_iter().filter(is_filter).collect())
    }

    /// Whether filters of others stand at the link's clsact egress; `own` is the handle of ours.
    pub fn has_other_egress_filters(&mut self, index: u32, own: u16) -> Result<bool, NetlinkError> {
        let filters = self.filters(index, Side::Egress)?;
        Ok(filters.iter().any(|filter| filter.handle != u32::from(own)))
    }
}

fn chain(message: &TcMessage) -> u32 {
    let chain = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            TcAttribute::Chain(chain) => Some(*chain),
            _ => None,
        });
    chain.unwrap_or_default()
}
