//! What a lab leaves on the machine, and how to get rid of it.
//!
//! Before a lab makes anything it writes `/run/weighbridge-lab/<id>.json`, which names its owner by
//! pid and start time. Everything else is found by the id: namespaces by their name's prefix,
//! processes by their cgroups. So a lab whose owner was killed can be removed by anyone, and one
//! whose owner is alive is left alone. Programs and maps need no sweeping: the kernel drops them
//! with the owner's descriptors and the namespaces' devices.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroups;
use crate::command::ip_batch;
use crate::error::LabError;

const DIRECTORY: &str = "/run/weighbridge-lab";
const NAMESPACES: &str = "/run/netns";

/// What is on record about a lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabState {
    /// Id of the lab.
    pub id: String,
    /// Process that owns it.
    pub owner_pid: u32,
    /// When that process started, in clock ticks since boot: a pid alone may be somebody else's.
    pub owner_start_ticks: u64,
    /// Name of the datapath.
    pub datapath: String,
    /// Whether the lab is complete.
    pub ready: bool,
    /// Pods, nodes and the outside host.
    pub places: Vec<PlaceState>,
}

/// Where commands for a pod or node run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceState {
    /// `pod`, `node` or `outside`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Network namespace.
    pub namespace: String,
    /// cgroup directory.
    pub cgroup: PathBuf,
    /// Addresses, for people.
    pub addresses: Vec<String>,
}

impl LabState {
    /// Whether the owning process is still there.
    pub fn owner_is_alive(&self) -> bool {
        start_ticks(self.owner_pid) == Some(self.owner_start_ticks)
    }
}

/// The labs on record.
pub fn list() -> Result<Vec<LabState>, LabError> {
    let mut states = Vec::new();
    for id in names_in(Path::new(DIRECTORY))?
        .iter()
        .filter_map(|name| name.strip_suffix(".json"))
    {
        states.extend(read(id));
    }
    states.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(states)
}

/// Removes everything that a lab has on the machine. What is not there is as good as removed.
pub fn teardown(id: &str) -> Result<(), LabError> {
    cgroups::remove(&cgroups::lab_root(id)?)?;
    let prefix = namespace_name(id, "");
    let lines: String = names_in(Path::new(NAMESPACES))?
        .iter()
        .filter(|name| name.starts_with(&prefix))
        .map(|name| format!("netns del {name}\n"))
        .collect();
    if !lines.is_empty() {
        ip_batch(None, &lines)?;
    }
    let scratch = scratch_directory(id);
    if scratch.exists() {
        fs::remove_dir_all(&scratch).map_err(LabError::file("remove", scratch))?;
    }
    let path = path(id);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes every lab whose owner is gone and returns their ids.
pub fn sweep_orphans() -> Result<Vec<String>, LabError> {
    fs::create_dir_all(DIRECTORY).map_err(LabError::file("create", DIRECTORY))?;
    let lock = Path::new(DIRECTORY).join("lock");
    let guard = File::create(&lock).map_err(LabError::file("open", &lock))?;
    // Two sweepers at once would trip over each other; the lock ends with the descriptor.
    guard.lock().map_err(LabError::file("lock", &lock))?;
    let mut ids: Vec<String> = names_in(Path::new(NAMESPACES))?
        .iter()
        .filter_map(|name| Some(name.strip_prefix("wb-")?.split_once('-')?.0.to_owned()))
        .chain(cgroups::lab_ids()?)
        .collect();
    ids.extend(
        names_in(Path::new(DIRECTORY))?
            .iter()
            .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())),
    );
    ids.sort();
    ids.dedup();
    // A lab is on record before it has anything else, so what has no record has no owner.
    ids.retain(|id| !read(id).is_some_and(|state| state.owner_is_alive()));
    for id in &ids {
        teardown(id)?;
    }
    Ok(ids)
}

/// Name of a lab's namespace.
pub(crate) fn namespace_name(id: &str, place: &str) -> String {
    format!("wb-{id}-{place}")
}

/// Directory for a lab's files.
pub(crate) fn scratch_directory(id: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(format!("{id}.files"))
}

/// Puts a new lab on record; an id that is taken is an error.
pub(crate) fn claim(state: &LabState) -> Result<(), LabError> {
    fs::create_dir_all(DIRECTORY).map_err(LabError::file("create", DIRECTORY))?;
    let path = path(&state.id);
    let fresh = path.with_extension(format!("{}.new", state.owner_pid));
    fs::write(&fresh, encode(state)).map_err(LabError::file("write", &fresh))?;
    // A link appears whole or not at all, and never replaces a record that is there.
    let linked = fs::hard_link(&fresh, &path);
    fs::remove_file(&fresh).map_err(LabError::file("remove", &fresh))?;
    linked.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => LabError::AlreadyUp {
            id: state.id.clone(),
        },
        _ => LabError::file("create", path)(error),
    })
}

/// Replaces the record of a lab.
pub(crate) fn update(state: &LabState) -> Result<(), LabError> {
    let path = path(&state.id);
    let fresh = path.with_extension("new");
    fs::write(&fresh, encode(state)).map_err(LabError::file("write", &fresh))?;
    fs::rename(&fresh, &path).map_err(LabError::file("replace", path))
}

/// Start time of a process that runs, in clock ticks since boot.
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name is in parentheses and may hold anything; field 22 counts from the pid.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // A process that has ended stays in the table until its parent asks how.
    let ended = matches!(fields.first(), Some(&("Z" | "X")));
    if ended {
        None
    } else {
        fields.get(19)?.parse().ok()
    }
}

fn read(id: &str) -> Option<LabState> {
    serde_json::from_slice(&fs::read(path(id)).ok()?).ok()
}

fn encode(state: &LabState) -> Vec<u8> {
    serde_json::to_vec_pretty(state).unwrap_or_default()
}

fn path(id: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(format!("{id}.json"))
}

fn names_in(directory: &Path) -> Result<Vec<String>, LabError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(LabError::file("list", directory)(error)),
    };
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_start_time_is_stable_and_a_free_pid_has_none() {
        let own = start_ticks(std::process::id());
        assert!(own.is_some_and(|ticks| ticks > 0));
        assert_eq!(own, start_ticks(std::process::id()));
        // The kernel's largest possible pid limit.
        assert_eq!(start_ticks(4_194_304 + 1), None);
    }
}
