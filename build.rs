//! Build script of `dataplane/dpdk-sys`: finds DPDK with pkg-config, generates the bindings that the
//! `dpdk` crate uses with bindgen, and compiles `shims.c` for what DPDK only has as inline functions.
//! Fails with one message that says which package to install.

use std::env;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// The oldest DPDK whose interfaces the bindings fit: the LTS of November 2022.
const OLDEST_DPDK: &str = "22.11";

/// The DPDK libraries that the bindings refer to. `rte_log` was split from `rte_eal` in 23.11 and is
/// linked where it exists. Drivers are plugins, which EAL loads itself, but for the one whose API the
/// in-process test port calls.
const LIBRARIES: &[&str] = &[
    "rte_eal",
    "rte_log",
    "rte_telemetry",
    "rte_kvargs",
    "rte_ring",
    "rte_mempool",
    "rte_mbuf",
    "rte_net",
    "rte_meter",
    "rte_ethdev",
    "rte_acl",
    "rte_ip_frag",
];
const DRIVERS: &[&str] = &["rte_net_ring"];

/// Everything that the `dpdk` crate calls or names; nothing else enters the bindings.
const FUNCTIONS: &[&str] = &[
    "shim_.*",
    "rte_acl_(add_rules|build|classify|create|free)",
    "rte_eal_(cleanup|hotplug_add|hotplug_remove|remote_launch|wait_lcore)",
    "rte_eth_allmulticast_enable",
    "rte_eth_dev_(adjust_nb_rx_tx_desc|close|configure|get_name_by_port|get_port_by_name|info_get)",
    "rte_eth_dev_(default_mac_addr_set|get_mtu|set_mtu|socket_id|start|stop)",
    "rte_eth_find_next",
    "rte_eth_from_rings",
    "rte_eth_(link_get_nowait|macaddr_get|promiscuous_enable|stats_get)",
    "rte_eth_(rx|tx)_queue_setup",
    "rte_get_(main_lcore|next_lcore|tsc_hz)",
    "rte_ip_frag_(free_death_row|table_create|table_destroy|table_del_expired_entries)",
    "rte_ipv4_(frag_reassemble_packet|fragment_copy_nonseg_packet)",
    "rte_ipv6_frag_reassemble_packet",
    "rte_lcore_to_socket_id",
    "rte_log_set_global_level",
    "rte_mempool_(avail_count|free|in_use_count)",
    "rte_pktmbuf_pool_create",
    "rte_ring_(create|free)",
    "rte_strerror",
    "rte_tel_data_(add_array_string|add_dict_string|start_array|start_dict)",
    "rte_telemetry_register_cmd",
];
const TYPES: &[&str] =
    &["shim_mbuf_offset", "rte_acl_rule_data", "rte_acl_field", "rte_ipv4_hdr", "rte_ipv6_hdr"];
const CONSTANTS: &[&str] = &[
    "SHIM_.*",
    "RTE_ACL_(FIELD_TYPE_.*|MAX_PRIORITY)",
    "RTE_ETH_MQ_RX_(NONE|RSS)",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_LIBRTE_IP_FRAG_MAX_FRAG",
    "RTE_LOG_(WARNING|ERR)",
    "RTE_MAX_ETHPORTS",
    "RTE_MAX_LCORE",
    "RTE_PKTMBUF_HEADROOM",
    "RTE_TEL_(MAX_ARRAY_ENTRIES|MAX_DICT_ENTRIES|STRING_VAL)",
];

/// Structures that Rust only holds by pointer; their fields are reached by the offsets of `wrapper.h`,
/// which stay right when a later DPDK nests them differently.
const OPAQUE: &[&str] =
    &["rte_mbuf", "rte_mempool", "rte_ring", "rte_device", "rte_acl_ctx", "rte_ip_frag_tbl"];

fn main() {
    let sys = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    for file in ["wrapper.h", "shims.c"] {
        println!("cargo::rerun-if-changed={}", sys.join(file).display());
    }

    let cflags = find_dpdk();
    generate_bindings(&sys.join("wrapper.h"), &cflags, &out.join("bindings.rs"));
    compile_shims(&sys.join("shims.c"), &cflags);
}

/// Emits the link directives and returns the compiler flags of libdpdk.
fn find_dpdk() -> Vec<String> {
    let library = pkg_config::Config::new()
        .atleast_version(OLDEST_DPDK)
        .cargo_metadata(false)
        .probe("libdpdk")
        .unwrap_or_else(|error| missing_dpdk(&error));

    for path in &library.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    for name in LIBRARIES.iter().filter(|name| library.libs.iter().any(|found| found == *name)) {
        println!("cargo::rustc-link-lib=dylib={name}");
    }
    for name in DRIVERS {
        println!("cargo::rustc-link-lib=dylib={name}");
    }

    // The crate does not hand on flags such as `-include rte_config.h` and `-march`.
    pkg_config(&["--cflags", "libdpdk"])
        .unwrap_or_else(|error| fail(&error))
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// What pkg-config prints when asked that.
fn pkg_config(args: &[&str]) -> Result<String, String> {
    let tool = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output =
        Command::new(tool).args(args).output().map_err(|error| format!("cannot run pkg-config: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("pkg-config {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)))
    }
}

fn missing_dpdk(error: &pkg_config::Error) -> ! {
    match error {
        pkg_config::Error::Command { .. } => {
            fail("pkg-config is not installed.\n  Debian, Ubuntu: apt-get install pkg-config libdpdk-dev")
        }
        pkg_config::Error::EnvNoPkgConfig(variable) => {
            fail(&format!("{variable} forbids pkg-config, by which DPDK is found: unset it"))
        }
        _ => {
            let found = match pkg_config(&["--modversion", "libdpdk"]) {
                Ok(version) => format!("is version {}, which is too old", version.trim()),
                Err(_) => "was not found by pkg-config (libdpdk.pc)".to_owned(),
            };
            fail(&format!(
                "DPDK {found}: {OLDEST_DPDK} or newer is needed.\n  \
                 Debian 12, Ubuntu 24.04 and newer: apt-get install libdpdk-dev\n  \
                 Built from source: set PKG_CONFIG_PATH to the directory of libdpdk.pc"
            ))
        }
    }
}

fn generate_bindings(header: &Path, cflags: &[String], to: &Path) {
    let mut builder = bindgen::Builder::default()
        .header(header.display().to_string())
        .clang_args(cflags)
        .rust_target(oldest_rust())
        .rust_edition(bindgen::RustEdition::Edition2024)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_default(true)
        .generate_comments(false)
        .layout_tests(false)
        .formatter(bindgen::Formatter::None)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in CONSTANTS {
        builder = builder.allowlist_var(name);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }

    // bindgen panics when it finds no libclang.
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let generated = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    panic::set_hook(quiet);
    let bindings = match generated {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(error)) => fail(&format!("bindgen could not read DPDK's headers: {error}")),
        Err(panic) => {
            let why = panic.downcast_ref::<String>().map_or("libclang could not be loaded", String::as_str);
            fail(&format!(
                "bindgen needs libclang to read DPDK's headers.\n  \
                 Debian, Ubuntu: apt-get install libclang-dev\n  \
                 Installed elsewhere: set LIBCLANG_PATH to its directory\n\n{why}"
            ))
        }
    };
    if let Err(error) = bindings.write_to_file(to) {
        fail(&format!("cannot write {}: {error}", to.display()));
    }
}

/// The first Rust that has the edition of the bindings.
fn oldest_rust() -> bindgen::RustTarget {
    bindgen::RustTarget::stable(85, 0).unwrap_or_default()
}

fn compile_shims(source: &Path, cflags: &[String]) {
    let mut build = cc::Build::new();
    // DPDK's headers are not free of warnings under every compiler's defaults.
    build.file(source).opt_level(3).warnings(false).define("ALLOW_EXPERIMENTAL_API", None);
    for flag in cflags {
        build.flag(flag);
    }
    if let Err(error) = build.try_compile("getvpn_dpdk_shims") {
        fail(&format!("cannot compile {}: {error}\n  Debian, Ubuntu: apt-get install gcc", source.display()));
    }
}

fn fail(message: &str) -> ! {
    eprintln!("\n{message}\n");
    exit(1)
}
