//! The traffic of the ingress half: nginx and Envoy, weights 60 to 40, from one virtual user to a
//! hundred.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use lab::{DataPlane, Ingress, IngressConfig, K6Options, ProbeOptions};

use super::Tools;

/// Virtual users of the runs.
const USERS: [u32; 3] = [1, 10, 100];
const SECONDS: u64 = 10;
/// Between runs, so that each has intervals of its own.
const PAUSE: Duration = Duration::from_millis(1200);

/// How many steps [`run`] reports.
pub fn steps() -> u64 {
    (DataPlane::ALL.len() * USERS.len()) as u64
}

/// Name of a data plane's dataset.
pub fn dataset_name(data_plane: DataPlane) -> String {
    format!("ingress-{}", data_plane.name())
}

/// Runs k6 against both data planes, each into a dataset of its own.
pub fn run(tools: &Tools, bar: &ProgressBar) -> anyhow::Result<()> {
    for data_plane in DataPlane::ALL {
        let name = data_plane.name();
        bar.set_message(format!("{name}: bringing the Gateway up"));
        bar.tick();
        let config = IngressConfig {
            object: Some(tools.object.clone()),
            ..IngressConfig::new(data_plane, &tools.k6, &tools.envoy)
        };
        let mut ingress = Ingress::up(config)?;
        let dataset = tools.dataset_of(&dataset_name(data_plane));
        let probes = ProbeOptions::new(&tools.probe, &dataset);
        let probes = ingress.lab().start_probes(&probes)?;
        let prober = ingress.start_prober()?;
        for users in USERS {
            bar.set_message(format!("{name}: k6 with {users} virtual users"));
            bar.tick();
            let run = ingress
                .k6(&K6Options::new(users, SECONDS))
                .with_context(|| format!("k6 with {users} virtual users against {name}"))?;
            let case = format!("lab-ingress-{name}-{users}");
            run.write(&dataset, &format!("{name}-{users}"), &case)?;
            bar.inc(1);
            thread::sleep(PAUSE);
        }
        prober.stop();
        probes.stop()?;
        ingress.write_objects(&dataset)?;
        ingress.down()?;
    }
    Ok(())
}
