//! The image: one static binary and nothing to run beside it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::deploy::{capabilities, prepared, printed};

const LARGEST_BYTES: u64 = 30_000_000;

#[test]
fn the_image_is_small_holds_two_files_and_its_binary_answers_preflight() {
    let archive = prepared("WEIGHBRIDGE_IMAGE");
    let bytes = fs::metadata(&archive).unwrap().len();
    assert!(bytes < LARGEST_BYTES, "{bytes} bytes");
    let folder = tempfile::tempdir().unwrap();
    let files = unpack(&archive, folder.path());
    assert_eq!(
        files.keys().map(String::as_str).collect::<Vec<_>>(),
        ["etc/ssl/certs/ca-certificates.crt", "weighbridge-probe"]
    );
    let certificates = fs::read_to_string(&files["etc/ssl/certs/ca-certificates.crt"]).unwrap();
    assert!(certificates.matches("BEGIN CERTIFICATE").count() > 50);

    let probe = &files["weighbridge-probe"];
    assert_eq!(
        fs::metadata(probe).unwrap().permissions().mode() & 0o111,
        0o111
    );
    require_static(probe, std::env::consts::ARCH);
    let output = Command::new(probe)
        .args(["preflight", "--format", "json"])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the binary of the image runs");
    // Whether this machine has pods is not the question: it answers, check by check.
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(checks.len() > 5);
    assert!(checks.iter().any(|check| check["check"] == "kernel"));
}

#[test]
fn the_static_binary_needs_no_more_than_its_container_may() {
    capabilities::check(&prepared("WEIGHBRIDGE_STATIC_PROBE"));
}

/// Reads the ELF header and the program headers: the machine, and no interpreter.
pub fn require_static(binary: &Path, machine: &str) {
    let bytes = fs::read(binary).unwrap();
    assert_eq!(&bytes[..4], b"\x7fELF");
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let found = match half(18) {
        62 => "x86_64",
        183 => "aarch64",
        _ => "another machine",
    };
    assert_eq!(found, machine);
    let headers = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    let (size, count) = (usize::from(half(54)), usize::from(half(56)));
    for position in 0..count {
        let at = usize::try_from(headers).unwrap() + position * size;
        let kind = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_ne!(kind, 3, "{} asks for an interpreter", binary.display());
    }
}

/// The files of an image as `docker save` writes it, by their path in the image.
fn unpack(archive: &Path, folder: &Path) -> BTreeMap<String, PathBuf> {
    extract(archive, folder);
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let root = folder.join("root");
    fs::create_dir(&root).unwrap();
    for layer in manifest[0]["Layers"].as_array().unwrap() {
        extract(&folder.join(layer.as_str().unwrap()), &root);
    }
    let listed = Command::new("find")
        .arg(&root)
        .args(["-type", "f", "-printf", "%P\\n"])
        .output()
        .unwrap();
    let listed = printed(&listed);
    listed
        .lines()
        .map(|path| (path.to_owned(), root.join(path)))
        .collect()
}

fn extract(archive: &Path, folder: &Path) {
    let output = Command::new("tar")
        .args(["--extract", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(folder)
        .output()
        .expect("tar runs");
    printed(&output);
}
