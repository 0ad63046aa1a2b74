//! What kubelets do to backends all the while: a GET for their health, from the pod's own node.
//!
//! Asks `/healthz` and `/echo` in turn, each over a connection of its own, and counts what was
//! answered, so that the share of these requests in a backend's responses is known.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Service;
use super::echo::HEALTH_PORT;
use crate::cluster::Lab;
use crate::error::LabError;
use crate::place::Place;

/// Between two rounds over a node's pods; kubelets take seconds, tests do not.
const PERIOD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);
const PATHS: [&str; 2] = ["/healthz", "/echo"];

/// Answers by pod and path.
pub type Probed = BTreeMap<(String, String), u64>;

/// A running prober; dropping it ends it.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<Probed>>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts a thread for each node that has backends.
pub(crate) fn start(lab: &Lab, services: &[Service]) -> Result<Prober, LabError> {
    let mut prober = Prober {
        stop: Arc::default(),
        answered: Arc::default(),
        threads: Vec::new(),
    };
    for node in lab.node_names() {
        let pods: Vec<(String, SocketAddr)> = services
            .iter()
            .flat_map(|service| service.pods.iter().map(move |pod| (service, pod)))
            .filter(|(_, pod)| pod.node == node)
            .map(|(service, pod)| {
                let port = if service.h2c {
                    HEALTH_PORT
                } else {
                    service.port
                };
                (pod.name.clone(), SocketAddr::new(pod.address.into(), port))
            })
            .collect();
        if !pods.is_empty() {
            let (stop, answered) = (prober.stop.clone(), prober.answered.clone());
            let place = lab.node(node).clone();
            prober.threads.push(thread::spawn(move || {
                rounds(&place, &pods, &stop, &answered)
            }));
        }
    }
    Ok(prober)
}

impl Prober {
    /// Ends it and says what was answered.
    pub fn stop(mut self) -> Probed {
        self.end();
        self.answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A prober that panicked has counted what it counted.
            let _ = thread.join();
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.end();
    }
}

fn rounds(
    place: &Place,
    pods: &[(String, SocketAddr)],
    stop: &AtomicBool,
    answered: &Mutex<Probed>,
) {
    // A node that is gone takes its prober along.
    let _ = place.namespace().run(|| {
        while !stop.load(Ordering::Relaxed) {
            for (pod, address) in pods {
                for path in PATHS {
                    if ask(*address, path).is_some() {
                        let mut counts = answered.lock().unwrap_or_else(PoisonError::into_inner);
                        *counts.entry((pod.clone(), path.to_owned())).or_default() += 1;
                    }
                }
            }
            thread::sleep(PERIOD);
        }
    });
}

/// Whether the server answered with anything that has a status line.
fn ask(address: SocketAddr, path: &str) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.36\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 ").then_some(())
}
