//! Probes that end in every way on one spool and one store: killed, and asked to end while the store
//! is away. What was complete arrives, nothing arrives twice, and no secret is left anywhere.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use trace_schema::flows::FlowRow;
use trace_schema::ledger::LedgerRow;

use super::servers::{Kind, SECRET, StoreServer};
use super::{Log, NODE, PORT, Scene, held, intervals};
use crate::dataset;

const PREFIX: &str = "restarts";
const LOAD: Duration = Duration::from_secs(4);
/// How long a probe may take to end while the store is away.
const END: Duration = Duration::from_secs(15);

#[test]
fn names_never_collide_over_restarts_and_no_secret_shows_in_azurite() {
    check_restarts(Kind::Azurite);
}

#[test]
fn names_never_collide_over_restarts_and_no_secret_shows_in_moto() {
    check_restarts(Kind::Moto);
}

fn check_restarts(kind: Kind) {
    let scene = Scene::new();
    let server = StoreServer::start(&scene.lab, NODE, kind);
    let url = kind.url(PREFIX);
    let arguments = ["--store", &url, "--merge-every", "2s"];

    // The first is killed in the middle of an interval, with everything in the log that there is.
    let mut environment = server.environment();
    environment.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let mut probes = scene.try_probe(&environment, &arguments).expect("a probe");
    let first_log = Log::of(&probes);
    let (_, process) = probes.ids()[0];
    let line = fs::read(format!("/proc/{process}/cmdline")).expect("its arguments");
    assert!(!holds_secret(&line), "the secret is in the arguments");
    scene.load(LOAD, || {});
    probes.kill(NODE).expect("the probe is killed");
    let first = server.objects(PREFIX);
    assert!(first.len() > 4, "{} objects", first.len());
    let left = held(scene.spool());
    assert!(!left.is_empty(), "nothing was left to ship");
    let rows_left: Vec<FlowRow> = dataset::rows(scene.spool());

    // The second takes over what the first left, and ends well.
    let probes = scene.probe(&server, &arguments);
    let seconds_load = scene.load(LOAD, || {});
    probes.stop().expect("the probe ends well");
    assert!(held(scene.spool()).is_empty());
    let second = server.objects(PREFIX);
    for (name, object) in &first {
        assert_eq!(second.get(name), Some(object), "{name} was written over");
    }
    assert!(second.len() > first.len() + 4);

    // The third begins and ends while the store is away.
    let mut server = server;
    server.down();
    let probes = scene.probe(&server, &arguments);
    let third_log = Log::of(&probes);
    let thirds_load = scene.load(LOAD, || {});
    let asked = Instant::now();
    probes.stop().expect("the probe ends well");
    assert!(asked.elapsed() < END, "it waits for a store that is away");
    let rest = third_log.lines("the rest leaves at the next start");
    assert_eq!(rest.len(), 1, "{}", third_log.text());
    let waiting = held(scene.spool());
    assert_eq!(rest[0]["fields"]["files"], waiting.len());
    let is_whole = |path: &std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        !name.starts_with('.')
    };
    assert!(waiting.iter().all(is_whole), "half files: {waiting:?}");

    // The fourth ships them. moto has forgotten all else.
    server.up();
    if kind == Kind::Moto {
        server.make_container();
    }
    let probes = scene.probe(&server, &arguments);
    thread::sleep(Duration::from_secs(2));
    probes.stop().expect("the probe ends well");
    assert!(held(scene.spool()).is_empty());

    let fetched = server.fetch(PREFIX);
    let flows: Vec<FlowRow> = dataset::rows(fetched.path());
    let sources = dataset::sources(&flows, PORT);
    let has = |load: &[SocketAddr]| load.iter().all(|source| sources.contains(source));
    assert!(has(&thirds_load));
    intervals(&dataset::rows::<LedgerRow>(fetched.path()));
    if kind == Kind::Azurite {
        assert!(has(&seconds_load));
        let there: HashSet<String> = flows.iter().map(|row| format!("{row:?}")).collect();
        assert_eq!(there.len(), flows.len(), "a row is there twice");
        for row in rows_left {
            assert!(there.contains(&format!("{row:?}")), "lost: {row:?}");
        }
        let final_objects = server.objects(PREFIX);
        for (name, object) in &second {
            assert_eq!(final_objects.get(name), Some(object), "{name}");
        }
    }
    assert!(!holds_secret(first_log.text().as_bytes()), "in the log");
    for folder in [scene.spool(), fetched.path()] {
        check_no_secret(folder);
    }
    check_no_secret(&scene.lab.scratch().expect("the lab's files"));
}

fn check_no_secret(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            check_no_secret(&path);
        } else if let Ok(bytes) = fs::read(&path) {
            assert!(!holds_secret(&bytes), "in {}", path.display());
        }
    }
}

/// As it is given, or as the bytes that it stands for.
fn holds_secret(bytes: &[u8]) -> bool {
    [SECRET.as_bytes(), b"a-secret-word-that"]
        .iter()
        .any(|secret| bytes.windows(secret.len()).any(|window| window == *secret))
}
