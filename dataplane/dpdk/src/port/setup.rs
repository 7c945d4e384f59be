//! Asking a device what it offers, and configuring it to the nearest of what is wanted. Runs on a
//! control thread, while the port is stopped.

use std::ffi::{CStr, c_char};

use dpdk_sys as sys;

use super::{PortConfig, PortError, PortInfo, text_of};
use crate::eal::Guard;
use crate::errno::Errno;

/// Octets of an Ethernet header and checksum, which a frame has beside its MTU.
const ETHERNET: u32 = 18;

/// The device's name, if there is such a device.
pub(super) fn name_of(id: u16) -> Option<String> {
    // SAFETY: reads DPDK's table of devices. Asking for the name of none would be logged as an error.
    if unsafe { sys::rte_eth_find_next(id) } != id {
        return None;
    }
    let mut name: [c_char; sys::RTE_ETH_NAME_MAX_LEN as usize] = [0; _];
    // SAFETY: the name is as long as DPDK's names can be.
    let result = unsafe { sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    // SAFETY: DPDK has written a NUL-terminated string.
    (result == 0).then(|| unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// What the driver says of a device.
pub(super) fn describe(id: u16, name: &str) -> Result<PortInfo, PortError> {
    let failed =
        |step, errno| PortError::Device { name: name.to_owned(), driver: "unknown".to_owned(), step, errno };
    let mut raw = sys::rte_eth_dev_info::default();
    // SAFETY: raw is a place for the answer; an id that is none is refused.
    Errno::check(unsafe { sys::rte_eth_dev_info_get(id, &raw mut raw) })
        .map_err(|errno| failed("describe itself", errno))?;
    let mut mac = sys::rte_ether_addr::default();
    // SAFETY: as above.
    Errno::check(unsafe { sys::rte_eth_macaddr_get(id, &raw mut mac) })
        .map_err(|errno| failed("tell its address", errno))?;
    // SAFETY: reads a table; an id that is none gives -1.
    let socket = unsafe { sys::rte_eth_dev_socket_id(id) };
    Ok(PortInfo {
        id,
        name: name.to_owned(),
        // SAFETY: a driver's name is a constant string of the driver, which stays loaded.
        driver: unsafe { text_of(raw.driver_name) },
        numa_node: u32::try_from(socket).ok(),
        mac: mac.addr_bytes,
        max_rx_queues: raw.max_rx_queues,
        max_tx_queues: raw.max_tx_queues,
        max_mtu: raw.max_mtu,
        max_frame: raw.max_rx_pktlen,
        rss_hash_functions: raw.flow_type_rss_offloads,
        rx_offloads: raw.rx_offload_capa,
        tx_offloads: raw.tx_offload_capa,
    })
}

/// Configures the claimed, checked device and its queues; the MTU that is in force then.
pub(super) fn configure(info: &PortInfo, config: &PortConfig) -> Result<u16, PortError> {
    let guard = Guard::current()?;
    let _control = guard.control();

    let mut wanted = device_config(info, config);
    let try_it = |wanted: &sys::rte_eth_conf| {
        // SAFETY: the claimed port is stopped; the configuration is read during the call only.
        Errno::check(unsafe {
            sys::rte_eth_dev_configure(info.id, config.rx_queues, config.tx_queues, wanted)
        })
    };
    let mut result = try_it(&wanted);
    if result.is_err() && info.max_frame < u32::from(config.mtu) + ETHERNET {
        // Some virtual drivers name a frame length that is a checksum short of their MTU.
        wanted.rxmode.mtu = 0;
        result = try_it(&wanted);
    }
    result.map_err(|errno| device_error(info, "be configured", errno))?;

    // SAFETY: the claimed port is stopped. A driver that cannot set its MTU keeps its own.
    unsafe { sys::rte_eth_dev_set_mtu(info.id, config.mtu) };
    let mut mtu = config.mtu;
    // SAFETY: mtu is a place for the answer, and stays as it is when there is none.
    unsafe { sys::rte_eth_dev_get_mtu(info.id, &raw mut mtu) };

    queues(info, config)?;
    Ok(mtu.min(config.mtu))
}

/// Gives the configured device another Ethernet address.
pub(super) fn set_mac(info: &PortInfo, mac: [u8; 6]) -> Result<(), PortError> {
    let guard = Guard::current()?;
    let _control = guard.control();
    let mut address = sys::rte_ether_addr { addr_bytes: mac };
    // SAFETY: the claimed port is configured; the address is copied.
    Errno::check(unsafe { sys::rte_eth_dev_default_mac_addr_set(info.id, &raw mut address) })
        .map(drop)
        .map_err(|errno| device_error(info, "take another Ethernet address", errno))
}

/// Starts the configured device.
pub(super) fn start(info: &PortInfo, config: &PortConfig) -> Result<(), PortError> {
    let guard = Guard::current()?;
    let _control = guard.control();
    // SAFETY: the port is configured, all its queues are set up, and none is taken yet.
    Errno::check(unsafe { sys::rte_eth_dev_start(info.id) })
        .map_err(|errno| device_error(info, "start", errno))?;
    if config.promiscuous {
        // A virtual device that receives everything anyway need not offer these.
        // SAFETY: the port is open.
        unsafe {
            sys::rte_eth_promiscuous_enable(info.id);
            sys::rte_eth_allmulticast_enable(info.id);
        }
    }
    Ok(())
}

/// Whether the device has the queues and takes the MTU asked for.
pub(super) fn check(info: &PortInfo, config: &PortConfig) -> Result<(), PortError> {
    for (kind, wanted, max) in [
        ("receive", config.rx_queues, info.max_rx_queues),
        ("transmit", config.tx_queues, info.max_tx_queues),
    ] {
        if wanted == 0 || wanted > max {
            return Err(PortError::Queues { name: info.name.clone(), kind, wanted, max });
        }
    }
    if config.mtu > info.max_mtu {
        return Err(PortError::Mtu { name: info.name.clone(), wanted: config.mtu, max: info.max_mtu });
    }
    Ok(())
}

fn device_config(info: &PortInfo, config: &PortConfig) -> sys::rte_eth_conf {
    let mut wanted = sys::rte_eth_conf::default();
    wanted.rxmode.mtu = u32::from(config.mtu);
    wanted.txmode.offloads = info.tx_offloads & sys::SHIM_TX_OFFLOAD_MULTI_SEGS;
    if u32::from(config.mtu) + ETHERNET > u32::from(config.pool.data_room()) {
        wanted.rxmode.offloads = info.rx_offloads & sys::SHIM_RX_OFFLOAD_SCATTER;
    }
    let hash = info.rss_hash_functions & (sys::SHIM_RSS_IP | sys::SHIM_RSS_PORTS);
    if config.rss && config.rx_queues > 1 && hash != 0 {
        wanted.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
        wanted.rx_adv_conf.rss_conf.rss_hf = hash;
    }
    wanted
}

fn queues(info: &PortInfo, config: &PortConfig) -> Result<(), PortError> {
    let (mut rx_descriptors, mut tx_descriptors) = (config.rx_descriptors, config.tx_descriptors);
    // SAFETY: the port is configured, the numbers are places for the answer.
    Errno::check(unsafe {
        sys::rte_eth_dev_adjust_nb_rx_tx_desc(info.id, &raw mut rx_descriptors, &raw mut tx_descriptors)
    })
    .map_err(|errno| device_error(info, "tell its queue lengths", errno))?;
    // DPDK's SOCKET_ID_ANY, as the unsigned number that these calls take.
    let socket = info.numa_node.unwrap_or(u32::MAX);

    for queue in 0..config.rx_queues {
        // SAFETY: the port is configured with that many queues; the pool is kept by the open port.
        Errno::check(unsafe {
            sys::rte_eth_rx_queue_setup(
                info.id,
                queue,
                rx_descriptors,
                socket,
                std::ptr::null(),
                config.pool.as_ptr(),
            )
        })
        .map_err(|errno| device_error(info, "set up a receive queue", errno))?;
    }
    for queue in 0..config.tx_queues {
        // SAFETY: the port is configured with that many queues.
        Errno::check(unsafe {
            sys::rte_eth_tx_queue_setup(info.id, queue, tx_descriptors, socket, std::ptr::null())
        })
        .map_err(|errno| device_error(info, "set up a transmit queue", errno))?;
    }
    Ok(())
}

fn device_error(info: &PortInfo, step: &'static str, errno: Errno) -> PortError {
    PortError::Device { name: info.name.clone(), driver: info.driver.clone(), step, errno }
}
