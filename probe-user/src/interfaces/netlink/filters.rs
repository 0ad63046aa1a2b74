//! Filters at a link's egress besides the probe's own: they run behind it and may translate.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcHandle, TcMessage};

use super::{Netlink, NetlinkError};

/// Parent of the filters at a clsact qdisc's egress: `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)`,
/// include/uapi/linux/pkt_sched.h.
const EGRESS: TcHandle = TcHandle {
    major: u16::MAX,
    minor: TcHandle::MIN_EGRESS,
};

impl Netlink {
    /// Whether filters of others stand at the link's clsact egress; `own` is the handle of ours.
    pub fn has_other_egress_filters(&mut self, index: u32, own: u16) -> Result<bool, NetlinkError> {
        let mut question = TcMessage::default();
        question.header.index = index.cast_signed();
        question.header.parent = EGRESS;
        let question = RouteNetlinkMessage::GetTrafficFilter(question);
        let handles = self.dump("filters", question, |answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(message) => {
                Some(u32::from(message.header.handle))
            }
            _ => None,
        })?;
        // Each priority is told with a handle of zero as well, before its filters.
        Ok(handles
            .into_iter()
            .any(|handle| handle != 0 && handle != u32::from(own)))
    }
}
