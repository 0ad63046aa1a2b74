//! Names and folders of a dataset, and the manifest of a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use trace_schema::layout::{FileName, covered_files, node_folder, node_of_folder, partition_dir};
use trace_schema::manifest::{RunManifest, RunOutcome};
use trace_schema::{Named, cpu, flows, http, ledger, objects, profile, resources, snat};

proptest! {
    #[test]
    fn names_keep_their_parts(
        start_ms in 0_i64..4_000_000_000_000,
        boot8 in "[0-9a-f]{8}",
        instance in any::<u64>(),
        first_seq in any::<u64>(),
        more in 0_u64..1000,
    ) {
        let last_seq = first_seq.saturating_add(more);
        let name = FileName { start_ms, boot8, instance, first_seq, last_seq };
        prop_assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn folders_keep_the_node(node in "\\PC{1,20}") {
        let folder = node_folder(&node);
        prop_assert!(!folder.contains('/'));
        prop_assert_eq!(node_of_folder(&folder), Some(node));
    }
}

#[test]
fn folders_are_hive_partitions() {
    let check = |start_us, node, expected: &str| {
        assert_eq!(
            partition_dir(Path::new("/d"), "flows", start_us, node),
            Path::new(expected)
        );
    };
    check(0, "worker", "/d/flows/date=1970-01-01/node=worker");
    // 2028-02-29 23:59:59.999999 UTC, as `date -u -d 2028-02-29T23:59:59 +%s` has it.
    check(
        1_835_481_599_999_999,
        "a/b c",
        "/d/flows/date=2028-02-29/node=a%2Fb%20c",
    );
    check(
        1_835_481_600_000_000,
        "ip-10-0-0-1.ec2",
        "/d/flows/date=2028-03-01/node=ip-10-0-0-1.ec2",
    );
}

#[test]
fn names_are_read_as_written() {
    let name = FileName::of_interval(1_800_000_000_123_456, "4f0c2b9e-77aa-bb", 0xbeef, 12);
    assert_eq!(
        name.to_string(),
        "1800000000123-4f0c2b9e-0000beef-12.parquet"
    );
    let last = FileName::of_interval(1_800_000_009_123_456, "4f0c2b9e-77aa-bb", 0xbeef, 21);
    let merged = name.merged_with(&last).to_string();
    assert_eq!(merged, "1800000000123-4f0c2b9e-0000beef-12-21.parquet");
    for bad in [
        "",
        "x.parquet",
        "1-b-0-1",
        "1-b-z-1.parquet",
        "1-b-0-5-4.parquet",
        ".1-b-0-1.parquet.tmp",
    ] {
        let error = bad.parse::<FileName>().expect_err(bad);
        assert!(error.to_string().starts_with(bad), "{error}");
    }
}

#[test]
fn merged_files_cover_what_they_hold() {
    let check = |names: &[&str], expected: &[bool]| {
        let names = names.iter().map(|name| name.parse().expect("a file name"));
        assert_eq!(covered_files(&names.collect::<Vec<FileName>>()), expected);
    };
    check(
        &[
            "1-b-0-1.parquet",
            "1-b-0-1-3.parquet",
            "3-b-0-3.parquet",
            "4-b-0-4.parquet",
        ],
        &[true, false, true, false],
    );
    check(&["1-b-0-1-3.parquet", "1-b-0-1-9.parquet"], &[true, false]);
    check(
        &["2-b-1-2.parquet", "2-c-0-2.parquet", "1-b-0-1-3.parquet"],
        &[false, false, false],
    );
    check(&["1-b-0-1.parquet", "1-b-0-1.parquet"], &[false, false]);
    let name = |text: &str| text.parse::<FileName>().expect("a file name");
    assert!(name("1-b-0-1-3.parquet").overlaps(&name("3-b-0-3-5.parquet")));
    assert!(!name("1-b-0-1-3.parquet").overlaps(&name("3-b-0-3.parquet")));
    assert!(!name("1-b-0-1-3.parquet").overlaps(&name("4-b-0-4-5.parquet")));
}

#[test]
fn names_of_enums_are_those_of_serde() {
    fn check<N: Named + serde::Serialize>() {
        for (value, name) in N::NAMES {
            let json = serde_json::to_string(value).expect("a name in JSON");
            assert_eq!(json, format!("{name:?}"));
            assert!(N::from_name(name) == Some(*value));
            assert_eq!(value.name(), *name);
        }
        assert!(N::from_name("").is_none());
    }
    check::<flows::Direction>();
    check::<flows::NatState>();
    check::<http::HttpVersion>();
    check::<cpu::CpuScope>();
    check::<cpu::CycleSource>();
    check::<ledger::Vantage>();
    check::<profile::ProfileEvent>();
    check::<profile::ProfileMode>();
    check::<resources::ResourceScope>();
    check::<objects::ObjectEvent>();
    check::<snat::Method>();
    check::<snat::Witness>();
}

#[test]
fn manifests_are_read_as_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run_dir = folder.path().join("runs/r1");
    let manifest = RunManifest {
        campaign: "c".to_owned(),
        case: "antrea-egress-gateway".to_owned(),
        tool_version: "3.12".to_owned(),
        client_pod: Some("ns/client".to_owned()),
        server_port: Some(5201),
        files: BTreeMap::from([("a.json".to_owned(), "iperf3-json".to_owned())]),
        kernel: "6.12".to_owned(),
        block: Some(2),
        factors: BTreeMap::from([("cni".to_owned(), "antrea".to_owned())]),
        outcome: RunOutcome::Failed,
        failure: Some("no route".to_owned()),
        ..RunManifest::new("r1", "iperf3", (1, 2))
    };
    manifest.write(&run_dir).expect("it is written");
    assert_eq!(RunManifest::read(&run_dir).expect("it is read"), manifest);
    assert_eq!(fs::read_dir(&run_dir).expect("its folder").count(), 1);
    let path = run_dir.join("manifest.json");
    let refused = |text: &str| {
        fs::write(&path, text).expect("a manifest is replaced");
        RunManifest::read(&run_dir).expect_err(text).to_string()
    };
    let shown = path.display();
    assert_eq!(
        refused("{\"schema_version\": 9}"),
        format!(
            "{shown}: schema version 9 is unknown, this build reads 4; use the weighbridge that wrote it"
        )
    );
    assert_eq!(refused("{"), format!("{shown}: not a run manifest"));
    assert_eq!(
        refused("{\"schema_version\": 4}"),
        format!("{shown}: not a run manifest")
    );
    fs::remove_file(&path).expect("it is removed");
    let error = RunManifest::read(&run_dir).expect_err("it is not there");
    assert_eq!(error.to_string(), format!("cannot read {shown}"));
}
