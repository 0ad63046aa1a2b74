//! The access logs of gateway and backends, read back as the witnesses that they are.
//!
//! Refuses a line that does not have the fields which the configuration writes: a witness that was
//! cut short is none.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::route::DataPlane;
use crate::error::LabError;

/// A request as the gateway saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayRequest {
    /// When it was answered (nginx) or had arrived (Envoy), UTC microseconds.
    pub time_us: i64,
    /// Path and query.
    pub path: String,
    /// Status that the client got.
    pub status: u16,
    /// The backend whose answer the client got; none where the gateway made it itself.
    pub backend: Option<SocketAddr>,
    /// Statuses that came from backends, the client's the last.
    pub backend_statuses: Vec<u16>,
    /// How often the request was sent to a backend or tried to be.
    pub attempts: u32,
    /// Until the last backend's response head was there, seconds in milliseconds' steps.
    pub response_head_s: Option<f64>,
}

/// A request as a backend saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendRequest {
    /// When it was answered, UTC microseconds.
    pub time_us: i64,
    /// The other side.
    pub peer: SocketAddr,
    /// The backend's port.
    pub port: u16,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// Path and query.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// Which request on its connection, from 1.
    pub connection_requests: u64,
    /// From the request's first byte to the answer's last, seconds in milliseconds' steps.
    pub request_s: f64,
}

/// Reads a gateway's log.
pub(crate) fn gateway(data_plane: DataPlane, path: &Path) -> Result<Vec<GatewayRequest>, LabError> {
    lines(path, |fields| match data_plane {
        DataPlane::Nginx => nginx(fields),
        DataPlane::Envoy => envoy(fields),
    })
}

/// Reads a backend's log.
pub(crate) fn backend(path: &Path) -> Result<Vec<BackendRequest>, LabError> {
    lines(path, |fields| {
        let [
            time,
            peer,
            peer_port,
            port,
            protocol,
            path,
            status,
            count,
            request,
        ] = fields
        else {
            return None;
        };
        let peer: IpAddr = peer.parse().ok()?;
        Some(BackendRequest {
            time_us: microseconds(time)?,
            peer: SocketAddr::new(peer, peer_port.parse().ok()?),
            port: port.parse().ok()?,
            protocol: (*protocol).to_owned(),
            path: (*path).to_owned(),
            status: status.parse().ok()?,
            connection_requests: count.parse().ok()?,
            request_s: request.parse().ok()?,
        })
    })
}

fn nginx(fields: &[&str]) -> Option<GatewayRequest> {
    let [time, _, _, path, status, upstreams, statuses, head] = fields else {
        return None;
    };
    // Attempts are separated by commas, internal redirects by colons; a socket's name is no
    // address, and `-` stands for an attempt that had no answer.
    let list = |text: &str| -> Vec<String> {
        let parts = text.split(", ").flat_map(|part| part.split(" : "));
        parts.map(str::to_owned).collect()
    };
    let upstreams = list(upstreams);
    let statuses = list(statuses);
    let answered: Vec<(SocketAddr, u16)> = upstreams
        .iter()
        .zip(&statuses)
        .filter_map(|(address, status)| Some((address.parse().ok()?, status.parse().ok()?)))
        // nginx logs 502 and 504 of its own for attempts that failed.
        .filter(|(_, status)| !matches!(status, 502 | 504))
        .collect();
    let status: u16 = status.parse().ok()?;
    Some(GatewayRequest {
        time_us: microseconds(time)?,
        path: (*path).to_owned(),
        status,
        backend: answered
            .last()
            .filter(|(_, answer)| *answer == status)
            .map(|(address, _)| *address),
        backend_statuses: answered.iter().map(|(_, status)| *status).collect(),
        attempts: u32::try_from(upstreams.len()).ok()?,
        response_head_s: list(head).last().and_then(|text| text.parse().ok()),
    })
}

fn envoy(fields: &[&str]) -> Option<GatewayRequest> {
    let [time, _, path, status, upstream, details, head_ms, attempts] = fields else {
        return None;
    };
    let status: u16 = status.parse().ok()?;
    let from_backend = *details == "via_upstream";
    Some(GatewayRequest {
        time_us: microseconds(time)?,
        path: (*path).to_owned(),
        status,
        backend: upstream.parse().ok().filter(|_| from_backend),
        backend_statuses: from_backend.then_some(status).into_iter().collect(),
        attempts: attempts.parse().unwrap_or(0),
        response_head_s: head_ms.parse::<f64>().ok().map(|ms| ms / 1000.0),
    })
}

/// Seconds with three decimals as microseconds.
fn microseconds(seconds: &str) -> Option<i64> {
    let (whole, fraction) = seconds.split_once('.')?;
    let milliseconds: i64 = fraction.parse().ok()?;
    Some(whole.parse::<i64>().ok()? * 1_000_000 + milliseconds * 1_000)
}

fn lines<T>(path: &Path, parse: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, LabError> {
    let text = fs::read_to_string(path).map_err(LabError::file("read", path))?;
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            parse(&fields).ok_or_else(|| LabError::Output {
                what: path.display().to_string(),
                message: format!("unexpected line `{line}`"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_failed_is_no_answer_of_a_backend() {
        let line = "1795303863.250\t10.244.1.11\t4711\t/echo\t200\t10.244.1.12:8080, \
                    10.244.3.13:8080\t502, 200\t-, 0.004";
        let fields: Vec<&str> = line.split('\t').collect();
        let request = nginx(&fields).unwrap();
        assert_eq!(request.time_us, 1_795_303_863_250_000);
        assert_eq!(request.backend, "10.244.3.13:8080".parse().ok());
        assert_eq!(request.backend_statuses, [200]);
        assert_eq!(
            (request.attempts, request.response_head_s),
            (2, Some(0.004))
        );
    }

    #[test]
    fn an_answer_of_the_gateway_itself_has_no_backend() {
        let line = "1795303863.250\t10.244.1.11\t4711\t/echo\t500\t\
                    unix:nginx-500-server.sock\t500\t0.000";
        let fields: Vec<&str> = line.split('\t').collect();
        let request = nginx(&fields).unwrap();
        assert_eq!((request.status, request.backend), (500, None));
        let line = "1795303863.250\t10.244.1.11:4711\t/echo\t503\t10.244.1.12:8080\t\
                    upstream_reset_before_response_started{connection_failure}\t-\t1";
        let fields: Vec<&str> = line.split('\t').collect();
        let request = envoy(&fields).unwrap();
        assert_eq!((request.status, request.backend), (503, None));
    }
}
