//! Random identities: lab ids, Kubernetes UIDs, container ids.

use std::fs::File;
use std::io::Read;

use crate::error::LabError;

/// `length` random hexadecimal digits.
pub(crate) fn random_hex(length: usize) -> Result<String, LabError> {
    let path = "/dev/urandom";
    let mut bytes = vec![0_u8; length.div_ceil(2)];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(LabError::file("read", path))?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(length);
    Ok(text)
}

/// A random (version 4) UUID, as the API server gives to objects.
pub(crate) fn random_uid() -> Result<String, LabError> {
    let hex = random_hex(32)?;
    Ok(format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    ))
}
