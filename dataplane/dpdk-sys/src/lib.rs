//! Raw bindings to DPDK. No wrappers, no logic: see the `dpdk` crate.
