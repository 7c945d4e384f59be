//! Build script of `dataplane/dpdk-sys`.
fn main() {}
