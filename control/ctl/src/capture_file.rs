//! A capture as a pcapng file: an interface for each port, and frames with comments. Runs in `getvpnctl`.

use crate::reply::{CapturedFrame, ProbePort};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

/// A file that is being written. Every frame is whole in it as soon as it was added.
pub struct CaptureFile<W: Write> {
    writer: PcapNgWriter<W>,
    snaplen: u32,
}

/// Timestamps are in nanoseconds: ten to the minus ninth.
const NANOSECONDS: u8 = 9;

impl<W: Write> CaptureFile<W> {
    /// Begins a file for frames of these ports.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(out: W, ports: &[ProbePort], snaplen: u32) -> io::Result<Self> {
        let made_by = format!("getvpnctl {}", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            options: vec![SectionHeaderOption::UserApplication(made_by.into())],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(out, section).map_err(io_error)?;
        for port in ports {
            let description = format!("{} side of link {}, device {}", port.side, port.link, port.device);
            let interface = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen,
                options: vec![
                    InterfaceDescriptionOption::IfName(format!("{}-{}", port.link, port.side).into()),
                    InterfaceDescriptionOption::IfDescription(description.into()),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            writer.write_pcapng_block(interface).map_err(io_error)?;
        }
        Ok(Self { writer, snaplen })
    }

    /// Adds a frame; returns how many octets of it were taken.
    ///
    /// # Errors
    /// When it cannot be written, or is no frame of these ports.
    pub fn add(&mut self, frame: &CapturedFrame) -> io::Result<usize> {
        let mut octets = octets(&frame.octets)?;
        octets.truncate(self.snaplen as usize);
        let taken = octets.len();
        let inbound_or_outbound = if frame.sent { 2 } else { 1 };
        let mut options = vec![EnhancedPacketOption::Flags(inbound_or_outbound)];
        options.extend(frame.comment.as_deref().map(|text| EnhancedPacketOption::Comment(text.into())));
        let block = EnhancedPacketBlock {
            interface_id: frame.port,
            timestamp: Duration::from_nanos(frame.unix_ns),
            original_len: frame.length,
            data: Cow::Owned(octets),
            options,
        };
        self.writer.write_pcapng_block(block).map_err(io_error)?;
        Ok(taken)
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.writer.into_inner()
    }
}

fn io_error(error: pcap_file::PcapError) -> io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

/// Octets out of hexadecimal digits.
fn octets(digits: &str) -> io::Result<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let octets = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
    octets
        .collect::<Option<Vec<u8>>>()
        .filter(|_| rest.is_empty())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame is not hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::{Block, PcapNgReader};

    fn frame(octets: &str, comment: Option<&str>) -> CapturedFrame {
        CapturedFrame {
            unix_ns: 1_700_000_000_123_456_789,
            port: 1,
            sent: comment.is_none(),
            length: 60,
            octets: octets.into(),
            comment: comment.map(str::to_owned),
        }
    }

    fn ports() -> Vec<ProbePort> {
        ["lan", "wan"]
            .map(|side| ProbePort { link: "site".into(), side: side.into(), device: "net_pcap0".into() })
            .into()
    }

    #[test]
    fn a_file_has_the_frames_with_their_ports_times_and_comments() {
        let mut file = CaptureFile::begin(Vec::new(), &ports(), 4).unwrap();
        assert_eq!(file.add(&frame("0a1B2c", Some("dropped: policy"))).unwrap(), 3);
        assert_eq!(file.add(&frame("0102030405", None)).unwrap(), 4);
        let written = file.into_inner();
        let mut reader = PcapNgReader::new(written.as_slice()).unwrap();
        let (mut names, mut packets) = (Vec::new(), Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(interface) => {
                    names.extend(interface.options.iter().find_map(|o| match o {
                        InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                        _ => None,
                    }))
                }
                Block::EnhancedPacket(packet) => packets.push(packet.clone().into_owned()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(names, ["site-lan", "site-wan"]);
        assert_eq!(packets.len(), 2);
        assert_eq!(packets[0].data.as_ref(), [0x0a, 0x1b, 0x2c]);
        assert_eq!((packets[0].interface_id, packets[0].original_len), (1, 60));
        assert_eq!(packets[0].timestamp, Duration::from_nanos(1_700_000_000_123_456_789));
        assert!(packets[0].options.contains(&EnhancedPacketOption::Comment("dropped: policy".into())));
        assert_eq!(packets[1].options, [EnhancedPacketOption::Flags(2)]);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bad in ["0", "zz", "0a1"] {
            let mut file = CaptureFile::begin(Vec::new(), &ports(), 100).unwrap();
            assert!(file.add(&frame(bad, None)).is_err(), "{bad}");
        }
        let mut file = CaptureFile::begin(Vec::new(), &ports(), 100).unwrap();
        assert!(file.add(&CapturedFrame { port: 2, ..frame("00", None) }).is_err(), "there is no such port");
    }
}
