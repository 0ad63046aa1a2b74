//! From iperf3's own figures to ones that mean the same in every version and mode.

use std::net::IpAddr;

use super::document::{Document, End, EndStream, Figures, RawInterval, Start};
use super::{
    Datagrams, Endpoint, Interval, IntervalStream, Iperf3Result, Protocol, Rate, Role, Rtt, Status,
    Stream, Transfer, Way,
};

pub(super) fn summarize(document: Document) -> Iperf3Result {
    let status = status(&document);
    let Document {
        start,
        intervals: raw,
        end,
        ..
    } = document;
    let role = if start.accepted_connection.is_some() {
        Role::Server
    } else {
        Role::Client
    };
    let test = start.test_start.as_ref();
    let protocol = test.and_then(|test| protocol(test.protocol.as_deref()?));
    let raw = without_repeated_end(raw);
    let intervals = raw.iter().map(interval).collect::<Vec<_>>();
    let context = Context {
        start: &start,
        raw: &raw,
        intervals: &intervals,
        status: &status,
        role,
    };
    let server = start
        .connecting_to
        .as_ref()
        .map(|to| endpoint(&to.host, to.port));
    let sampled_mtu = raw
        .iter()
        .flat_map(|one| &one.streams)
        .filter_map(|one| one.pmtu);
    Iperf3Result {
        version: start.version.clone(),
        role,
        protocol,
        started_s: start.timestamp.as_ref().map(|at| whole(at.timesecs)),
        server,
        mss_bytes: positive(start.tcp_mss.or(start.tcp_mss_default)),
        path_mtu_bytes: positive(sampled_mtu.max()),
        block_bytes: test.and_then(|test| test.blksize).map(whole),
        asked_seconds: test
            .and_then(|test| test.duration)
            .filter(|&seconds| seconds > 0.0),
        omitted_seconds: test.and_then(|test| test.omit).unwrap_or_default(),
        streams: context.streams(&end),
        transfers: context.transfers(&end),
        own_cpu_percent: end
            .cpu_utilization_percent
            .as_ref()
            .and_then(|cpu| cpu.host_total),
        // An end that never heard from the other one prints 0.
        other_cpu_percent: end
            .cpu_utilization_percent
            .as_ref()
            .and_then(|cpu| cpu.remote_total)
            .filter(|&percent| percent > 0.0),
        intervals,
        status,
    }
}

/// Round-trip times of the streams taken, over the intervals that are not omitted. iperf3's own
/// mean has the omitted ones in it.
pub(super) fn rtt(intervals: &[Interval], takes: impl Fn(i64) -> bool) -> Option<Rtt> {
    let counted = intervals.iter().filter(|interval| !interval.omitted);
    let samples = counted.flat_map(|interval| &interval.streams);
    let samples = samples
        .filter(|stream| takes(stream.socket))
        .filter_map(|one| one.rtt_us);
    let samples = samples.collect::<Vec<_>>();
    let (min_us, max_us) = (*samples.iter().min()?, *samples.iter().max()?);
    let mean_us = samples.iter().sum::<i64>() as f64 / samples.len() as f64;
    Some(Rtt {
        min_us,
        mean_us,
        max_us,
    })
}

fn status(document: &Document) -> Status {
    let has_sums = document.end.sum_sent.is_some() || document.end.sum.is_some();
    match &document.error {
        None if document.is_ended && has_sums => Status::Complete,
        None => Status::Unfinished,
        Some(error) if document.intervals.is_empty() => Status::Error(error.clone()),
        Some(error) if has_sums => Status::Interrupted(error.clone()),
        Some(error) => Status::ServerDied(error.clone()),
    }
}

/// What stream and sum figures are read with.
struct Context<'a> {
    start: &'a Start,
    raw: &'a [RawInterval],
    intervals: &'a [Interval],
    status: &'a Status,
    role: Role,
}

impl Context<'_> {
    fn streams(&self, end: &End) -> Vec<Stream> {
        let no_sums = EndStream::default();
        let connected = self.start.connected.iter().enumerate();
        let stream = connected.map(|(at, connected)| {
            let sums = sums_of(end, connected.socket)
                .or(end.streams.get(at))
                .unwrap_or(&no_sums);
            let socket = connected.socket;
            let raw = self.raw.iter().flat_map(|interval| &interval.streams);
            let raw = raw
                .filter(|one| one.socket == Some(socket))
                .collect::<Vec<_>>();
            let way = self.way(&raw, sums);
            let retransmits = raw
                .iter()
                .filter_map(|one| positive_or_zero(one.retransmits));
            let retransmits = retransmits.reduce(|one, other| one + other);
            let cwnds = raw.iter().filter_map(|one| positive(one.snd_cwnd));
            let udp_sent = sums.udp.as_ref().filter(|_| way == Way::Sent);
            let udp_received = sums.udp.as_ref().filter(|_| way == Way::Received);
            Stream {
                socket,
                local: endpoint(&connected.local_host, connected.local_port),
                remote: endpoint(&connected.remote_host, connected.remote_port),
                way,
                sent: self.rate(sums.sender.as_ref().or(udp_sent), way == Way::Sent),
                received: self.rate(
                    sums.receiver.as_ref().or(udp_received),
                    way == Way::Received,
                ),
                interval_bytes: raw.iter().map(|one| whole(one.bytes)).sum(),
                retransmits: sums
                    .sender
                    .as_ref()
                    .and_then(|one| positive_or_zero(one.retransmits)),
                interval_retransmits: retransmits,
                max_cwnd_bytes: cwnds.max(),
                rtt: rtt(self.intervals, |number| number == socket),
                udp: sums.udp.as_ref().and_then(datagrams),
            }
        });
        stream.collect()
    }

    fn transfers(&self, end: &End) -> Vec<Transfer> {
        let halves = [
            (&end.sum_sent, &end.sum_received, &end.sum),
            (
                &end.sum_sent_bidir_reverse,
                &end.sum_received_bidir_reverse,
                &end.sum_bidir_reverse,
            ),
        ];
        let is_bidir = end.sum_sent_bidir_reverse.is_some() || end.sum_bidir_reverse.is_some();
        let transfers = halves.into_iter().enumerate().filter_map(|(half, sums)| {
            let (sent, received, both) = sums;
            let told = sent.as_ref().or(both.as_ref())?;
            let way = match is_bidir {
                true => self.bidir_way(told.sender, half),
                false => self.plain_way(told.sender),
            };
            // Before UDP had sums by end, `sum` held the sender's bytes and the receiver's losses.
            let lost = both.as_ref().or(received.as_ref());
            let arrived = received
                .clone()
                .or_else(|| both.as_ref().and_then(without_losses));
            let sender = sent.as_ref().or(both.as_ref());
            Some(Transfer {
                way,
                sent: self.rate(sender, way == Way::Sent),
                received: self.rate(arrived.as_ref(), way == Way::Received),
                retransmits: sent
                    .as_ref()
                    .and_then(|one| positive_or_zero(one.retransmits)),
                udp: lost.and_then(datagrams),
            })
        });
        transfers.collect()
    }

    /// A stream's direction: what its figures say, else what the test was asked to do.
    fn way(&self, raw: &[&Figures], sums: &EndStream) -> Way {
        let of_sums = sums
            .sender
            .as_ref()
            .or(sums.udp.as_ref())
            .and_then(|one| one.sender);
        let of_intervals = raw.iter().find_map(|one| one.sender);
        self.plain_way(of_intervals.or(of_sums))
    }

    fn plain_way(&self, is_sender: Option<bool>) -> Way {
        let test = self.start.test_start.as_ref();
        let is_reverse = test.and_then(|test| test.reverse).unwrap_or_default() != 0;
        let is_sender = is_sender.unwrap_or(is_reverse == (self.role == Role::Server));
        if is_sender { Way::Sent } else { Way::Received }
    }

    fn bidir_way(&self, is_sender: Option<bool>, half: usize) -> Way {
        let is_forward = (half == 0) == (self.role == Role::Client);
        if is_sender.unwrap_or(is_forward) {
            Way::Sent
        } else {
            Way::Received
        }
    }

    /// A rate, unless it is the other end's and that end never reported: iperf3 then prints 0.
    fn rate(&self, figures: Option<&Figures>, is_own: bool) -> Option<Rate> {
        let figures = figures?;
        if !is_own && *self.status != Status::Complete && figures.bytes == 0.0 {
            return None;
        }
        let span = figures.end.unwrap_or_default() - figures.start.unwrap_or_default();
        Some(Rate {
            bytes: whole(figures.bytes),
            seconds: figures.seconds.unwrap_or(span),
            bits_per_second: figures.bits_per_second,
        })
    }
}

/// A run that breaks off reports its last interval twice.
fn without_repeated_end(mut raw: Vec<RawInterval>) -> Vec<RawInterval> {
    if let [.., before, last] = raw.as_slice()
        && before.streams == last.streams
        && !last.streams.is_empty()
    {
        raw.pop();
    }
    raw
}

fn interval(raw: &RawInterval) -> Interval {
    let first = raw.streams.first();
    let stream = |one: &Figures| IntervalStream {
        socket: one.socket.unwrap_or_default(),
        bytes: whole(one.bytes),
        bits_per_second: one.bits_per_second,
        retransmits: positive_or_zero(one.retransmits),
        rtt_us: positive(one.rtt),
        cwnd_bytes: positive(one.snd_cwnd),
        packets: one.packets,
        lost: one.lost_packets,
        jitter_ms: one.jitter_ms,
    };
    Interval {
        start_s: first.and_then(|one| one.start).unwrap_or_default(),
        end_s: first.and_then(|one| one.end).unwrap_or_default(),
        omitted: first.is_some_and(|one| one.omitted),
        streams: raw.streams.iter().map(stream).collect(),
    }
}

fn sums_of(end: &End, socket: i64) -> Option<&EndStream> {
    let is_of = |one: &Option<Figures>| one.as_ref().is_some_and(|one| one.socket == Some(socket));
    end.streams
        .iter()
        .find(|one| is_of(&one.sender) || is_of(&one.receiver) || is_of(&one.udp))
}

fn datagrams(figures: &Figures) -> Option<Datagrams> {
    Some(Datagrams {
        packets: figures.packets?,
        lost: figures.lost_packets?,
        out_of_order: figures.out_of_order,
        jitter_ms: figures.jitter_ms?,
    })
}

/// What arrived, from what was sent and the share that was lost.
fn without_losses(figures: &Figures) -> Option<Figures> {
    let (packets, lost) = (
        figures.packets.filter(|&sent| sent > 0)?,
        figures.lost_packets?,
    );
    let share = (packets - lost) as f64 / packets as f64;
    Some(Figures {
        bytes: figures.bytes * share,
        bits_per_second: figures.bits_per_second * share,
        ..figures.clone()
    })
}

fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// Flow rows hold addresses without a zone, and IPv4 as IPv4.
fn endpoint(host: &str, port: u16) -> Endpoint {
    let bare = host.split_once('%').map_or(host, |(bare, _)| bare);
    let address = bare
        .parse::<IpAddr>()
        .map(|address| address.to_canonical().to_string());
    Endpoint {
        address: address.unwrap_or_else(|_| host.to_owned()),
        port,
    }
}

fn positive(value: Option<i64>) -> Option<i64> {
    value.filter(|&value| value > 0)
}

fn positive_or_zero(value: Option<i64>) -> Option<i64> {
    value.filter(|&value| value >= 0)
}

/// iperf3 prints counts as JSON numbers that may carry an exponent; they are whole.
fn whole(value: f64) -> i64 {
    value.round() as i64
}
