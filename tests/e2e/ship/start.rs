//! A store that cannot be used: said at the start, in one line that names what to do, where it can be
//! known; a store that is merely away keeps nobody from counting.

use std::thread;
use std::time::Duration;

use super::servers::{Kind, SECRET, StoreServer};
use super::{Log, NODE, Scene, held};

#[test]
fn what_cannot_be_mended_by_waiting_ends_the_start() {
    let scene = Scene::new();
    let azurite = StoreServer::start_empty(&scene.lab, NODE, Kind::Azurite);
    let moto = StoreServer::start_empty(&scene.lab, NODE, Kind::Moto);
    let refused = |environment: &[(String, String)], url: &str, said: &[&str]| {
        let error = scene
            .try_probe(environment, &["--store", url])
            .expect_err(url);
        let line = error.to_string();
        eprintln!("{line}");
        for text in ["exit status: 2", "--store"].iter().chain(said) {
            assert!(line.contains(text), "{url}: {text:?} is not in {line}");
        }
        assert!(!line.contains(SECRET), "{line}");
    };
    let none: [(String, String); 0] = [];
    let secret_in_url = format!("s3://me:{SECRET}@traces/x");
    refused(&none, &secret_in_url, &["leave them out"]);
    refused(&none, "ftp://traces/x", &["s3://"]);
    refused(&none, "az://traces/x", &["AZURE_STORAGE_ACCOUNT_NAME"]);
    refused(
        &none,
        "s3://traces/x",
        &["no credentials", "AWS_ACCESS_KEY_ID"],
    );
    for server in [&azurite, &moto] {
        let url = server.kind().url("x");
        refused(
            &server.environment(),
            &url,
            &["no such container", "make it"],
        );
    }
    azurite.make_container();
    let mut wrong = azurite.environment();
    for (name, value) in &mut wrong {
        if name == "AZURE_STORAGE_ACCOUNT_KEY" {
            *value = SECRET.chars().rev().collect();
        }
    }
    refused(
        &wrong,
        &Kind::Azurite.url("x"),
        &["refuses the credentials"],
    );
}

#[test]
fn a_store_that_is_away_at_the_start_is_said_once_and_rows_are_written() {
    let scene = Scene::new();
    let environment = Kind::Moto.environment();
    let url = Kind::Moto.url("x");
    let arguments = ["--store", &url, "--merge-every", "1s"];
    let probes = scene.try_probe(&environment, &arguments).expect("a probe");
    let log = Log::of(&probes);
    thread::sleep(Duration::from_secs(4));
    probes.stop().expect("the probe ends well");
    assert_eq!(log.lines("it does not answer").len(), 1, "{}", log.text());
    assert!(!held(scene.spool()).is_empty());
    assert!(!log.text().contains(SECRET));
}
