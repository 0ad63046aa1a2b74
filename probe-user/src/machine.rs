//! What an interval says of the machine beside its packets: resources and, if asked for, a profile.
//!
//! It joins both to the cgroups of the node. It refuses to sample a kernel twice: where several nodes
//! share one, the caller says whose probe writes what is kernel-wide.

use std::path::{Path, PathBuf};
use std::time::Instant;

use trace_schema::ledger::LedgerRow;
use trace_schema::profile::ProfileRow;
use trace_schema::resources::ResourceRow;

use crate::aggregate::Interval;
use crate::cgroups::index::Index;
use crate::config::Config;
use crate::profile::{Profiler, Whose};
use crate::resources::{Resources, Stamp};

/// The readers that the configuration asks for; none before [`Machine::start`].
#[derive(Debug, Default)]
pub struct Machine {
    node_root: PathBuf,
    resources: Option<Resources>,
    profiler: Option<Profiler>,
}

/// What an interval gave.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// Rows of `resources`.
    pub resources: Vec<ResourceRow>,
    /// Rows of `profile`.
    pub profile: Vec<ProfileRow>,
    /// The profile's row of `ledger`.
    pub ledger: Option<LedgerRow>,
}

impl Machine {
    /// Begins to read and to sample. `pods` is the pods' directory, `index` what is below
    /// it, and paths in rows are told from `node_root` on.
    pub fn start(
        &mut self,
        config: &Config,
        node_root: &Path,
        pods: &Path,
        index: &mut Index,
        writes_kernel_wide: bool,
    ) -> anyhow::Result<()> {
        index.scan(Instant::now());
        let profiler = config
            .profile_hz
            .map(|hz| Profiler::start(hz, writes_kernel_wide));
        *self = Self {
            node_root: node_root.to_owned(),
            resources: config
                .resources
                .then(|| Resources::start(node_root, pods, index)),
            profiler: profiler.transpose()?,
        };
        Ok(())
    }

    /// The rows of the interval that ends now; `index` has just been scanned.
    pub fn rows(
        &mut self,
        interval: &Interval,
        index: &mut Index,
        writes_kernel_wide: bool,
    ) -> Readings {
        let stamp = &Stamp {
            start_us: interval.start_us,
            end_us: interval.end_us,
            node: interval.node.clone(),
            boot_id: interval.boot_id.clone(),
        };
        let resources = self.resources.as_mut();
        let resources = resources.map(|resources| resources.rows(stamp, index));
        let node_root = &self.node_root;
        let profiled = self.profiler.as_mut().map(|profiler| {
            profiler.rows(stamp, writes_kernel_wide, |id| whose(index, node_root, id))
        });
        let profiled = profiled.unwrap_or_default();
        Readings {
            resources: resources.unwrap_or_default(),
            profile: profiled.rows,
            ledger: profiled.ledger,
        }
    }
}

fn whose(index: &mut Index, node_root: &Path, id: u64) -> Whose {
    let Some(cgroup) = index.get(id, Instant::now()) else {
        return Whose::default();
    };
    let below = cgroup.path.strip_prefix(node_root).ok();
    Whose {
        cgroup_path: below.map(|path| format!("/{}", path.display())),
        pod_uid: cgroup.identity.pod_uid.clone(),
        container_id: cgroup.identity.container_id.clone(),
    }
}
