//! The servers of an ingress: nginx in every backend pod, nginx or Envoy as the gateway.
//!
//! A new route reaches the gateway the way its controller brings it there: nginx rereads its
//! configuration on SIGHUP, Envoy takes a file that was moved into place. Both say themselves when
//! the new version is in force.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::echo::Answers;
use super::route::{DataPlane, Route};
use super::{IngressConfig, Service, ServicePod, echo, envoy, gateway_pod_name, nginx, within};
use crate::cluster::Lab;
use crate::command::one_line;
use crate::error::LabError;
use crate::iperf3::wait_for_listener;
use crate::place::{Place, Process, ended_badly};

const PATIENCE: Duration = Duration::from_secs(10);
/// How often Envoy writes its access log, in milliseconds.
const FLUSH_MS: u64 = 50;

/// A gateway's process and files.
#[derive(Debug)]
pub(crate) struct GatewayServer {
    process: Process,
    folder: PathBuf,
    data_plane: DataPlane,
}

impl GatewayServer {
    /// Starts the data plane with the configured route and waits until it listens.
    pub fn start(
        lab: &Lab,
        config: &IngressConfig,
        services: &[Service],
        version: u64,
    ) -> Result<Self, LabError> {
        let pod = gateway_pod_name(config.data_plane);
        let folder = folder(lab, pod)?;
        let place = lab.pod(pod);
        let mut process = match config.data_plane {
            DataPlane::Nginx => {
                let text = nginx::config(&config.route, services, &config.upstream, version);
                write(&folder.join("nginx.conf"), &text)?;
                start_nginx(place, &folder)?
            }
            DataPlane::Envoy => {
                let bootstrap = envoy::bootstrap(services, &config.upstream, &folder);
                write(&folder.join("envoy.json"), &bootstrap.to_string())?;
                let routes = envoy::routes(&config.route, services, version);
                write(&folder.join("routes.json"), &routes.to_string())?;
                start_envoy(place, &config.envoy, &folder)?
            }
        };
        await_listener(&mut process, 80, &folder)?;
        let server = Self {
            process,
            folder,
            data_plane: config.data_plane,
        };
        server.await_version(version)?;
        Ok(server)
    }

    /// Brings a new version of the route into force.
    pub fn program(
        &mut self,
        config: &IngressConfig,
        services: &[Service],
        route: &Route,
        version: u64,
    ) -> Result<(), LabError> {
        match self.data_plane {
            DataPlane::Nginx => {
                let text = nginx::config(route, services, &config.upstream, version);
                write(&self.folder.join("nginx.conf"), &text)?;
                self.process.signal(Signal::SIGHUP)?;
            }
            DataPlane::Envoy => {
                let fresh = self.folder.join("routes.new");
                let path = self.folder.join("routes.json");
                write(&fresh, &envoy::routes(route, services, version).to_string())?;
                fs::rename(&fresh, &path).map_err(LabError::file("replace", path))?;
            }
        }
        self.await_version(version)
    }

    pub fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }

    /// Waits until what was answered before is in the access log.
    pub fn settle(&self) {
        if self.data_plane == DataPlane::Envoy {
            thread::sleep(Duration::from_millis(4 * FLUSH_MS));
        }
    }

    fn await_version(&self, version: u64) -> Result<(), LabError> {
        let in_force = || match self.data_plane {
            DataPlane::Nginx => {
                let socket = self.folder.join(nginx::VERSION_SOCKET);
                ask(&socket, "/version").is_some_and(|text| text == version.to_string())
            }
            DataPlane::Envoy => {
                let counter = envoy::accepted_routes();
                let path = format!("/stats?filter=^{counter}$");
                ask(&self.folder.join("admin.sock"), &path)
                    .and_then(|text| text.trim().rsplit(' ').next()?.parse::<u64>().ok())
                    .is_some_and(|accepted| accepted >= version)
            }
        };
        if within(PATIENCE, in_force) {
            return Ok(());
        }
        Err(LabError::Timeout {
            what: format!(
                "the gateway did not take over version {version} of its route ({})",
                complaint(&self.folder)
            ),
            seconds: PATIENCE.as_secs(),
        })
    }
}

/// Starts the backend of a pod and waits until it listens.
pub(crate) fn start_backend(
    lab: &Lab,
    service: &Service,
    pod: &ServicePod,
    config: &IngressConfig,
) -> Result<Process, LabError> {
    let folder = folder(lab, &pod.name)?;
    let answers = Answers {
        status: 200,
        rate_per_s: config.rate_per_s,
    };
    let text = echo::config(&pod.name, service.port, &config.upstream, &answers);
    write(&folder.join("nginx.conf"), &text)?;
    write(
        &folder.join("hostname"),
        &format!("Hostname: {}\n", pod.name),
    )?;
    write(&folder.join("large.txt"), &echo::large_body())?;
    let mut process = start_nginx(lab.pod(&pod.name), &folder)?;
    await_listener(&mut process, service.port, &folder)?;
    Ok(process)
}

/// Writes the configuration with which a pod answers with another status; it is not yet reread.
pub(crate) fn answer_with(
    lab: &Lab,
    services: &[Service],
    config: &IngressConfig,
    pod: &str,
    status: u16,
) -> Result<(), LabError> {
    let answers = Answers {
        status,
        rate_per_s: config.rate_per_s,
    };
    let port = services.first().map_or(super::PORT, |service| service.port);
    let text = echo::config(pod, port, &config.upstream, &answers);
    write(&folder(lab, pod)?.join("nginx.conf"), &text)
}

/// Where the files of a pod's server are.
pub(crate) fn folder(lab: &Lab, pod: &str) -> Result<PathBuf, LabError> {
    let path = lab.scratch()?.join(pod);
    fs::create_dir_all(&path).map_err(LabError::file("create", &path))?;
    Ok(path)
}

fn start_nginx(place: &Place, folder: &Path) -> Result<Process, LabError> {
    let mut command = place.command("nginx")?;
    command.arg("-p").arg(folder).args(["-c", "nginx.conf"]);
    // Its Unix sockets are named relative to where it runs.
    command.args(["-e", "error.log"]).current_dir(folder);
    command.stdin(Stdio::null());
    let output = create(&folder.join("output.log"))?;
    command.stdout(Stdio::null()).stderr(output);
    place.spawn("nginx", command)
}

fn start_envoy(place: &Place, envoy: &Path, folder: &Path) -> Result<Process, LabError> {
    let mut command = place.command(envoy)?;
    command.arg("-c").arg(folder.join("envoy.json"));
    // One worker: backends share the machine.
    command.args(["--concurrency", "1", "--disable-hot-restart"]);
    command.args(["--log-level", "warning", "--file-flush-interval-msec"]);
    command.arg(FLUSH_MS.to_string()).stdin(Stdio::null());
    let output = create(&folder.join("output.log"))?;
    command.stdout(Stdio::null()).stderr(output);
    place.spawn("envoy", command)
}

fn await_listener(process: &mut Process, port: u16, folder: &Path) -> Result<(), LabError> {
    let waited = wait_for_listener("the server", process.id(), port);
    match process.try_wait()? {
        Some(status) => Err(ended_badly(
            format!("the server of {}", folder.display()),
            status,
            complaint(folder).as_bytes(),
        )),
        None => waited,
    }
}

/// What a server last complained of, on one line.
fn complaint(folder: &Path) -> String {
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
    let mut text = read("output.log");
    text.extend(read("error.log"));
    one_line(&text)
}

/// The body of the answer to a GET over a Unix socket, if there is one.
fn ask(socket: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let chunked = head.to_ascii_lowercase().contains("chunked");
    // These answers are short: one chunk, after the line with its length.
    let body = if chunked {
        body.split("\r\n").nth(1)?
    } else {
        body
    };
    Some(body.to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::file("write", path))
}

fn create(path: &Path) -> Result<fs::File, LabError> {
    fs::File::create(path).map_err(LabError::file("create", path))
}
