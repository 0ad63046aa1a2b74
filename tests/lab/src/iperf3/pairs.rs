//! Several clients of iperf3 at once, each with a server of its own, that can be ended early.
//!
//! What a client wrote until then is kept, whatever ended it: a run that failed is a run too.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use trace_schema::manifest::RunManifest;

use super::{IperfOptions, iperf3_version, kernel, own_version, write_manifest};
use crate::cluster::Lab;
use crate::error::LabError;
use crate::identity::random_hex;
use crate::place::Process;
use crate::recorder::now_us;

/// How long a client may take over its duration, and a server to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Running clients and their servers; dropping them kills them.
#[derive(Debug)]
pub struct IperfPairs {
    options: IperfOptions,
    clients: Vec<(Process, PathBuf)>,
    servers: Vec<Process>,
    client_pod: String,
    server: IpAddr,
    start_us: i64,
}

/// What the clients of a run have written.
#[derive(Clone, Debug)]
pub struct PairsRun {
    /// Why it failed, one line.
    pub failure: Option<String>,
    client_pod: String,
    server: IpAddr,
    port: u16,
    span_us: (i64, i64),
    outputs: Vec<Vec<u8>>,
}

impl Lab {
    /// Starts clients in the pod, and a server for each on the outside host at ports that follow
    /// one another.
    pub fn start_iperf3(&self, options: &IperfOptions, pairs: u16) -> Result<IperfPairs, LabError> {
        let ports = options.port..options.port.saturating_add(pairs);
        let servers = ports
            .clone()
            .map(|port| self.iperf3_server(port))
            .collect::<Result<_, _>>()?;
        let folder = self.scratch()?.join(format!("iperf3-{}", random_hex(8)?));
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let place = self.pod(&options.pod);
        let start_us = now_us();
        let mut clients = Vec::new();
        for port in ports {
            let path = folder.join(format!("{port}.json"));
            let file = File::create(&path).map_err(LabError::file("create", &path))?;
            let mut command = place.command("iperf3")?;
            command.args(options.client_arguments(self, port));
            command
                .stdin(Stdio::null())
                .stdout(file)
                .stderr(Stdio::null());
            clients.push((place.spawn("iperf3", command)?, path));
        }
        Ok(IperfPairs {
            options: options.clone(),
            clients,
            servers,
            client_pod: self.qualified_name(&options.pod),
            server: self.outside_address().of(options.family),
            start_us,
        })
    }
}

impl IperfPairs {
    /// Whether a client has not yet ended.
    pub fn is_running(&mut self) -> Result<bool, LabError> {
        for (client, _) in &mut self.clients {
            if client.try_wait()?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks the clients to write what they have and to end.
    pub fn interrupt(&mut self) -> Result<(), LabError> {
        let mut clients = self.clients.iter_mut();
        clients.try_for_each(|(client, _)| client.signal(Signal::SIGINT))
    }

    /// Waits for the clients, ends the servers and reads what there is.
    pub fn finish(self) -> Result<PairsRun, LabError> {
        let mut failure = None;
        let mut outputs = Vec::new();
        for (mut client, path) in self.clients {
            let status = client.wait(PATIENCE)?;
            let output = fs::read(&path).map_err(LabError::file("read", &path))?;
            let said = error_of(&output);
            if failure.is_none() && (!status.success() || said.is_some()) {
                let said = said.unwrap_or_default();
                failure = Some(format!("iperf3 ended with {status}: {said}"));
            }
            outputs.push(output);
        }
        let end_us = now_us();
        for mut server in self.servers {
            server.stop(PATIENCE)?;
        }
        Ok(PairsRun {
            failure,
            client_pod: self.client_pod,
            server: self.server,
            port: self.options.port,
            span_us: (self.start_us, end_us),
            outputs,
        })
    }
}

impl PairsRun {
    /// Writes `runs/<id>/` below a dataset's root: each client's JSON, and the manifest with what
    /// the run itself tells put into it.
    pub fn write_as(&self, dataset: &Path, manifest: RunManifest) -> Result<(), LabError> {
        let folder = dataset.join("runs").join(&manifest.id);
        fs::create_dir_all(&folder).map_err(LabError::file("create", &folder))?;
        let mut manifest = RunManifest {
            tool_version: iperf3_version()?,
            client_pod: Some(self.client_pod.clone()),
            server_address: Some(self.server.to_string()),
            server_port: Some(self.port),
            kernel: kernel(),
            start_us: self.span_us.0,
            end_us: self.span_us.1,
            ..manifest
        };
        manifest.versions.extend([own_version()]);
        for (output, number) in self.outputs.iter().zip(1..) {
            let name = match self.outputs.len() {
                1 => "iperf3.json".to_owned(),
                _ => format!("iperf3-{number:02}.json"),
            };
            let path = folder.join(&name);
            fs::write(&path, output).map_err(LabError::file("write", &path))?;
            manifest.files.insert(name, "iperf3-json".to_owned());
        }
        write_manifest(&manifest, &folder)
    }
}

/// What iperf3 complains of in its JSON; before 3.14 it may do so and end with 0.
fn error_of(output: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Value>(output) {
        Ok(value) => value["error"].as_str().map(str::to_owned),
        Err(_) if output.is_empty() => Some("it wrote nothing".to_owned()),
        Err(error) => Some(format!("its JSON is cut: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::error_of;

    fn check(output: &str, expected: Option<&str>) {
        assert_eq!(error_of(output.as_bytes()).as_deref(), expected);
    }

    #[test]
    fn a_client_that_complains_or_was_cut_off_has_failed() {
        check(r#"{"end": {}}"#, None);
        check(
            r#"{"error": "unable to connect to server"}"#,
            Some("unable to connect to server"),
        );
        check("", Some("it wrote nothing"));
        assert!(error_of(b"{\"start\": ").is_some_and(|text| text.starts_with("its JSON is cut")));
    }
}
