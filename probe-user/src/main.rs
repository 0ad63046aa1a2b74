//! `weighbridge-probe`.

fn main() {}
