//! Raw bindings to the parts of DPDK that getvpn uses, generated at build time, and the shims for its
//! inline functions (`shims.c`). No wrappers, no logic: the `dpdk` crate is the safe side of it.

#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(clippy::all, clippy::pedantic, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]
#![allow(unnecessary_transmutes, unsafe_op_in_unsafe_fn)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
