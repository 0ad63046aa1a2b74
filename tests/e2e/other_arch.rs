//! The static binary for an architecture that this machine does not have: built, not run.

use crate::deploy::prepared;
use crate::image::require_static;

#[test]
fn it_is_built_in_the_same_way() {
    let other = match std::env::consts::ARCH {
        "x86_64" => "aarch64",
        _ => "x86_64",
    };
    require_static(&prepared("WEIGHBRIDGE_OTHER_PROBE"), other);
}
