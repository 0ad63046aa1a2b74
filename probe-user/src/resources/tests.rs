//! Trees made up, and the machine's own.

use std::time::{Duration, Instant};

use super::*;

const UID: &str = "3f1c8e2a-0b4d-4c66-9a53-7f0e9d1b2c3d";
const ID: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A tree of plain files in the shape of a node's cgroups.
struct Tree {
    folder: tempfile::TempDir,
    index: Index,
    resources: Resources,
}

impl Tree {
    fn new(v1: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("cg/kubepods.slice");
        fs::create_dir_all(&pods).unwrap();
        fs::create_dir_all(folder.path().join("proc/pressure")).unwrap();
        let v1_memory = v1.then(|| V1Memory {
            hierarchy: folder.path().join("memory"),
            v2_mount: folder.path().join("cg"),
        });
        let index = Index::new(pods.clone(), Duration::ZERO);
        let resources = Resources::of(
            &folder.path().join("cg"),
            &pods,
            &folder.path().join("proc"),
            v1_memory,
        );
        Self {
            folder,
            index,
            resources,
        }
    }

    fn container() -> String {
        let uid = UID.replace('-', "_");
        format!("cg/kubepods.slice/kubepods-pod{uid}.slice/cri-containerd-{ID}.scope")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn rows(&mut self) -> Vec<ResourceRow> {
        self.index.scan(Instant::now());
        let stamp = Stamp {
            start_us: 1,
            end_us: 2,
            node: "worker".to_owned(),
            boot_id: "0f2a".to_owned(),
        };
        self.resources.rows(&stamp, &self.index)
    }

    fn row(&mut self, scope: ResourceScope) -> ResourceRow {
        let rows = self.rows();
        let mut of_scope = rows.into_iter().filter(|row| row.scope == scope);
        let row = of_scope.next().expect("a row of the scope");
        assert_eq!(of_scope.next(), None);
        row
    }
}

#[test]
fn a_containers_row_has_what_its_files_say() {
    let mut tree = Tree::new(false);
    let container = Tree::container();
    tree.write(
        &format!("{container}/cpu.stat"),
        "usage_usec 900\nuser_usec 600\nthrottled_usec 5\n",
    );
    tree.write(
        &format!("{container}/cpu.pressure"),
        "some avg10=0.00 total=70\nfull avg10=0.00 total=1\n",
    );
    tree.write(
        &format!("{container}/memory.pressure"),
        "some avg10=0.00 total=8\nfull avg10=0.00 total=3\n",
    );
    tree.write(&format!("{container}/memory.current"), "5000\n");
    tree.write(
        &format!("{container}/memory.stat"),
        "anon 1\ninactive_file 1200\n",
    );
    tree.write(&format!("{container}/memory.max"), "max\n");
    // Made by the container's own init system.
    tree.write(
        &format!("{container}/init.scope/cpu.stat"),
        "usage_usec 1\n",
    );
    let row = tree.row(ResourceScope::Container);
    assert_eq!(row.pod_uid.as_deref(), Some(UID));
    assert_eq!(row.container_id.as_deref(), Some(ID));
    let below = container.strip_prefix("cg").unwrap();
    assert_eq!(row.cgroup_path.as_deref(), Some(below));
    // It was not there before, so it began at zero.
    assert_eq!(
        (row.cpu_ns, row.cpu_user_ns, row.cpu_throttled_ns),
        (Some(900_000), Some(600_000), Some(5_000))
    );
    assert_eq!(
        (row.memory_bytes, row.memory_working_set_bytes),
        (Some(5000), Some(3800))
    );
    assert_eq!(row.memory_limit_bytes, None);
    assert_eq!(
        (row.cpu_some_pressure_us, row.memory_some_pressure_us),
        (Some(70), Some(8))
    );
    assert_eq!(
        (row.memory_full_pressure_us, row.io_some_pressure_us),
        (Some(3), None)
    );

    tree.write(
        &format!("{container}/cpu.stat"),
        "usage_usec 1100\nuser_usec 600\nthrottled_usec 5\n",
    );
    tree.write(&format!("{container}/memory.max"), "8192\n");
    let row = tree.row(ResourceScope::Container);
    assert_eq!((row.cpu_ns, row.cpu_user_ns), (Some(200_000), Some(0)));
    assert_eq!(row.memory_limit_bytes, Some(8192));

    tree.write(
        &format!("{container}/cpu.stat"),
        "usage_usec 50\nuser_usec 600\nthrottled_usec 5\n",
    );
    let row = tree.row(ResourceScope::Container);
    assert_eq!(
        (row.cpu_ns, row.cpu_user_ns),
        (None, Some(0)),
        "a counter that went backwards says nothing"
    );
}

#[test]
fn without_descriptors_to_spare_files_are_opened_each_time() {
    let mut tree = Tree::new(false);
    tree.resources.most_kept = 0;
    let path = format!("{}/cpu.stat", Tree::container());
    tree.write(&path, "usage_usec 5\n");
    assert_eq!(tree.row(ResourceScope::Container).cpu_ns, Some(5_000));
    tree.write(&path, "usage_usec 9\n");
    assert_eq!(tree.row(ResourceScope::Container).cpu_ns, Some(4_000));
}

#[test]
fn memory_comes_from_cgroup_v1_where_v2_has_none() {
    let mut tree = Tree::new(true);
    let container = Tree::container();
    tree.write(&format!("{container}/cpu.stat"), "usage_usec 0\n");
    let v1 = container.replacen("cg", "memory", 1);
    tree.write(&format!("{v1}/memory.usage_in_bytes"), "7000\n");
    tree.write(
        &format!("{v1}/memory.stat"),
        "inactive_file 1\ntotal_inactive_file 500\n",
    );
    tree.write(
        &format!("{v1}/memory.limit_in_bytes"),
        "9223372036854771712\n",
    );
    let row = tree.row(ResourceScope::Container);
    assert_eq!(
        (row.memory_bytes, row.memory_working_set_bytes),
        (Some(7000), Some(6500))
    );
    assert_eq!(row.memory_limit_bytes, None);
}

#[test]
fn what_is_not_there_is_absent() {
    let mut tree = Tree::new(false);
    tree.write(&format!("{}/cgroup.procs", Tree::container()), "");
    let row = tree.row(ResourceScope::Container);
    assert_eq!(
        (row.cpu_ns, row.memory_bytes, row.cpu_throttled_ns),
        (None, None, None)
    );
    let row = tree.row(ResourceScope::Node);
    assert_eq!((row.cpu_ns, row.memory_bytes, row.cpus), (None, None, None));
    assert_eq!((row.cpu_some_pressure_us, row.cgroup_path), (None, None));
}

#[test]
fn services_stand_below_the_root_and_its_slices() {
    let mut tree = Tree::new(false);
    for service in [
        "system.slice/kubelet.service",
        "system.slice/containerd.service",
        "init.scope",
    ] {
        tree.write(&format!("cg/{service}/cpu.stat"), "usage_usec 3\n");
    }
    tree.write(
        "cg/system.slice/kubelet.service/inside/cpu.stat",
        "usage_usec 1\n",
    );
    tree.write(&format!("{}/cpu.stat", Tree::container()), "usage_usec 1\n");
    let rows = tree.rows();
    let of_services = rows.iter().filter(|row| row.scope == ResourceScope::Cgroup);
    let paths: Vec<&str> = of_services
        .filter_map(|row| row.cgroup_path.as_deref())
        .collect();
    assert_eq!(
        paths,
        [
            "/init.scope",
            "/system.slice/containerd.service",
            "/system.slice/kubelet.service"
        ]
    );
    fs::remove_dir_all(tree.folder.path().join("cg/init.scope")).unwrap();
    assert_eq!(tree.rows().len(), rows.len() - 1);
}

#[test]
fn more_services_than_have_rows_are_named() {
    let tree = Tree::new(false);
    for service in 0..services::MOST_SERVICES + 3 {
        tree.write(
            &format!("cg/system.slice/s{service:04}.service/cpu.stat"),
            "usage_usec 3\n",
        );
    }
    let found = services(&tree.resources.node_root, &tree.resources.pods);
    assert_eq!(found.chosen.len(), services::MOST_SERVICES);
    assert_eq!(found.left_out.len(), 3);
    assert!(found.left_out[0].ends_with(format!("s{:04}.service", services::MOST_SERVICES)));
}

#[test]
fn the_machines_row_has_differences() {
    let mut tree = Tree::new(false);
    let tick_ns = parse::user_tick_ns().cast_signed();
    tree.write(
        "proc/stat",
        "cpu  100 0 50 900 0 1 2 3 0 0\ncpu0 100 0 50 900 0 1 2 3 0 0\n",
    );
    tree.write("proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 40 kB\n");
    tree.write("proc/pressure/cpu", "some avg10=0.00 total=10\n");
    assert_eq!(
        tree.row(ResourceScope::Node).cpu_ns,
        None,
        "there is nothing to compare with yet"
    );
    tree.write(
        "proc/stat",
        "cpu  110 0 57 950 0 1 4 4 0 0\ncpu0 110 0 57 950 0 1 4 4 0 0\n",
    );
    tree.write("proc/pressure/cpu", "some avg10=0.00 total=35\n");
    let row = tree.row(ResourceScope::Node);
    assert_eq!(row.cpu_ns, Some(19 * tick_ns));
    assert_eq!(
        (row.cpu_user_ns, row.cpu_system_ns),
        (Some(10 * tick_ns), Some(7 * tick_ns))
    );
    assert_eq!(
        (row.cpu_softirq_ns, row.cpu_steal_ns),
        (Some(2 * tick_ns), Some(tick_ns))
    );
    assert_eq!(
        (row.memory_bytes, row.memory_limit_bytes),
        (Some(60 * 1024), Some(100 * 1024))
    );
    assert_eq!((row.cpus, row.cpu_some_pressure_us), (Some(1), Some(25)));
}
