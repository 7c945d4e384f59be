//! The frames of a capture file, in its order; read once, before the clock starts.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use pcap_file::pcap::PcapReader;

/// Frames that are sent one after the other, and from the beginning again after the last.
pub struct Frames {
    all: Vec<Vec<u8>>,
    next: usize,
}

impl Frames {
    pub fn read(path: &Path, longest: usize) -> Result<Frames> {
        let name = || path.display().to_string();
        let mut reader = PcapReader::new(File::open(path).with_context(name)?).with_context(name)?;
        let mut all = Vec::new();
        while let Some(packet) = reader.next_packet() {
            let packet = packet.with_context(name)?;
            let octets = packet.data.into_owned();
            ensure!(
                octets.len() <= longest,
                "{}: a frame of {} octets, and --mtu allows {longest}",
                name(),
                octets.len()
            );
            all.push(octets);
        }
        ensure!(!all.is_empty(), "{}: no frames in it", name());
        Ok(Frames { all, next: 0 })
    }

    /// The next one.
    #[inline]
    pub fn take(&mut self) -> &[u8] {
        let at = self.next;
        self.next = if at + 1 == self.all.len() { 0 } else { at + 1 };
        &self.all[at]
    }
}
