//! Safe, RAII wrappers around the parts of DPDK that getvpn uses.
