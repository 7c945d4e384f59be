//! The network interface that an address belongs to, for IPv6 multicast, which goes by interface.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::Ipv6Addr;

/// The number of the interface that has an IPv6 address.
///
/// # Errors
/// When none has it, or the system does not tell.
pub fn of_address(address: Ipv6Addr) -> io::Result<u32> {
    let wanted = format!("{:032x}", address.to_bits());
    let table = fs::read_to_string("/proc/net/if_inet6")?;
    let line = table.lines().find(|line| line.starts_with(&wanted));
    let index = line.and_then(|line| line.split_whitespace().nth(1));
    index.and_then(|index| u32::from_str_radix(index, 16).ok()).ok_or_else(|| {
        io::Error::new(ErrorKind::AddrNotAvailable, format!("no interface has the address {address}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_the_loopback_address() {
        if let Ok(index) = of_address(Ipv6Addr::LOCALHOST) {
            assert!(index > 0);
        }
        assert!(of_address("2001:db8::77".parse().unwrap()).is_err());
    }
}
