//! The pure half of the probe: parsing, tested on the host.
