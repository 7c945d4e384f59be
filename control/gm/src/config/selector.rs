//! Traffic selectors as the data plane takes them. Control thread, at the start; no I/O.

pub(super) use getvpn_config::selector::KEYS;
use getvpn_config::{ConfigError, Section, selector as written};
use getvpn_dataplane::{Prefix, Selector};
use ipnet::IpNet;

/// Reads the selector keys of a section, which may have others too.
pub(super) fn read(section: &Section<'_>) -> Result<Selector, ConfigError> {
    let written::Selector { src, dst, protocol, src_port, dst_port } = written::read(section)?;
    let prefix = |read: IpNet| {
        Prefix::new(read.addr(), read.prefix_len())
            .ok_or_else(|| section.error(format!("{read} is no prefix; clear the bits behind its length")))
    };
    Ok(Selector { src: prefix(src)?, dst: prefix(dst)?, protocol, src_port, dst_port })
}
