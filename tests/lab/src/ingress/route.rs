//! What an HTTPRoute says and what two real controllers make of it.
//!
//! Pure. A route names services with weights; which of them are there decides what is invalid. The
//! shares of both data planes are written down as their controllers compute them, roundings and
//! departures from the specification included.

/// The data plane of a Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataPlane {
    /// nginx, as NGINX Gateway Fabric 2.x configures it.
    Nginx,
    /// Envoy, as Cilium configures it.
    Envoy,
}

impl DataPlane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Nginx, Self::Envoy];

    /// The name on command lines and in case names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }

    /// `spec.controllerName` of its GatewayClass.
    pub fn controller(self) -> &'static str {
        match self {
            Self::Nginx => "gateway.nginx.org/nginx-gateway-controller",
            Self::Envoy => "io.cilium/gateway-controller",
        }
    }
}

/// A service that the route sends requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendRef {
    /// Name of the service; one that is not there makes the reference invalid.
    pub service: String,
    /// Its weight; none is the API's default of 1.
    pub weight: Option<u32>,
}

/// Requests that are sent a second time, to a service whose answers nobody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Name of the service.
    pub service: String,
    /// Share of the requests in percent; none is all of them.
    pub percent: Option<u32>,
}

/// A request is tried again when its answer has one of these status codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The status codes.
    pub codes: Vec<u16>,
    /// At most so many times more.
    pub attempts: u32,
}

/// The one rule of the lab's HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Where requests go.
    pub backends: Vec<BackendRef>,
    /// Where they go as well.
    pub mirror: Option<Mirror>,
    /// When they go again; only Cilium has it.
    pub retry: Option<Retry>,
}

impl Route {
    /// A route to services with weights.
    pub fn new(weights: &[(&str, u32)]) -> Self {
        let backends = weights.iter().map(|(service, weight)| BackendRef {
            service: (*service).to_owned(),
            weight: Some(*weight),
        });
        Self {
            backends: backends.collect(),
            ..Self::default()
        }
    }

    /// The route that sends this percentage to `echo-v2` and the rest to `echo-v1`.
    pub fn canary(percent: u32) -> Self {
        Self::new(&[("echo-v1", 100 - percent.min(100)), ("echo-v2", percent)])
    }
}

impl BackendRef {
    /// The weight that counts.
    pub fn effective_weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }
}

/// Hundredths of a percent for each backend as NGINX Gateway Fabric writes them: floored, and what
/// is left for the last. None where all weights are zero, which is answered with 500.
pub(crate) fn nginx_hundredths(route: &Route) -> Option<Vec<u64>> {
    let weights: Vec<u64> = route
        .backends
        .iter()
        .map(|backend| backend.effective_weight().into())
        .collect();
    let total: u64 = weights.iter().sum();
    if total == 0 {
        return None;
    }
    let mut left = 10_000;
    let mut shares = Vec::new();
    for (position, weight) in weights.iter().enumerate() {
        let last = position + 1 == weights.len();
        let share = if last { left } else { weight * 10_000 / total };
        left -= share;
        shares.push(share);
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(weights: &[u32], expected: Option<&[u64]>) {
        let weights: Vec<(&str, u32)> = weights.iter().map(|weight| ("echo", *weight)).collect();
        assert_eq!(nginx_hundredths(&Route::new(&weights)).as_deref(), expected);
    }

    #[test]
    fn percentages_are_floored_and_the_last_backend_takes_the_rest() {
        check(&[60, 40], Some(&[6000, 4000]));
        check(&[1, 20_000], Some(&[0, 10_000]));
        check(&[1, 1, 1, 0], Some(&[3333, 3333, 3333, 1]));
        check(&[0, 0], None);
    }
}
