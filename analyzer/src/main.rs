//! `weighbridge`.

fn main() {}
