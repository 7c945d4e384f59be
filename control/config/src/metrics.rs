//! `[metrics]`: where a daemon's figures can be fetched by HTTP, if anywhere. Read at a daemon's start.

use crate::error::ConfigError;
use crate::protocol;
use crate::reader::Section;
use std::net::{Ipv4Addr, SocketAddr};

/// Where a member serves its metrics, unless its configuration says otherwise.
pub const MEMBER_PORT: u16 = 9848;
/// The same of a key server.
pub const KEY_SERVER_PORT: u16 = 9849;

/// Reads the section: without it, or with `listen = ""`, nothing is served; without `listen` in it, on the
/// loopback at `port`. Port 0 lets the system choose.
///
/// # Errors
/// When there is another key, or the address is none.
pub fn read(
    root: &Section<'_>,
    port: u16,
    warnings: &mut Vec<String>,
) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(section) = root.table("metrics")? else { return Ok(None) };
    section.only(&["listen"])?;
    let Some(value) = section.get("listen") else { return Ok(Some((Ipv4Addr::LOCALHOST, port).into())) };
    const WHAT: &str = "an address with its port, or \"\" to serve no metrics";
    if value.text(WHAT)?.is_empty() {
        return Ok(None);
    }
    let address = protocol::socket_address(&value, WHAT)?;
    if address.ip().is_multicast() {
        return Err(value.error("a multicast address; name one of this machine, or 127.0.0.1"));
    }
    if !address.ip().is_loopback() {
        warnings.push(
            value
                .error(format!(
                    "metrics are served at {address} to whoever can connect, in the clear and without a password; let a \
                     firewall admit the Prometheus server only, or listen on 127.0.0.1"
                ))
                .to_string(),
        );
    }
    Ok(Some(address))
}
