//! The devices: one queue each way, mbufs that hold the largest frame in one piece.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dpdk::{Eal, Mempool, Port, PortConfig, RxQueue, TxQueue};

const ETHERNET: u16 = 14;
/// More than the rings of all ports hold together with what one loop has in hand.
const BUFFERS: u32 = 8191;
const DESCRIPTORS: u16 = 8192;

/// One device and its only queues.
pub struct Device {
    pub rx: RxQueue,
    pub tx: TxQueue,
    port: Port,
}

/// All devices, in the order of the command line.
pub struct Ports {
    pub devices: Vec<Device>,
    pub pool: Arc<Mempool>,
    longest: usize,
    _eal: Eal,
}

impl Ports {
    pub fn open(vdevs: &[String], core: usize, mtu: u16, memory: usize) -> Result<Ports> {
        let mut args: Vec<String> =
            ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry"].map(String::from).into();
        args.extend(["-m".into(), memory.to_string(), "--lcores".into(), format!("0@{core}")]);
        args.extend(vdevs.iter().map(|vdev| format!("--vdev={vdev}")));
        let eal = Eal::init(&args)?;
        let longest = mtu.checked_add(ETHERNET).context("--mtu is too large")?;
        let pool = Mempool::new("load", BUFFERS, 256, longest.max(2048), None)?;
        let devices = vdevs.iter().map(|vdev| Device::open(vdev, mtu, &pool)).collect::<Result<_>>()?;
        Ok(Ports { devices, pool, longest: longest.into(), _eal: eal })
    }

    pub fn names(&self) -> Vec<&str> {
        self.devices.iter().map(Device::name).collect()
    }

    pub fn get(&mut self, number: usize) -> Result<&mut Device> {
        let count = self.devices.len();
        self.devices.get_mut(number).with_context(|| format!("port {number}: there are {count}, from 0"))
    }

    /// Octets of the longest frame.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Fails when a port has lost its link.
    pub fn check_links(&self) -> Result<()> {
        for device in &self.devices {
            ensure!(
                device.port.link_up(),
                "{} has no link: the program at its other end is not there, or has ended",
                device.name()
            );
        }
        Ok(())
    }

    pub fn wait_for_link(&self, most: Duration) -> Result<()> {
        let end = Instant::now() + most;
        while let Err(error) = self.check_links() {
            if Instant::now() >= end {
                return Err(error.context(format!("waited {:.1} s", most.as_secs_f64())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Device {
    fn open(vdev: &str, mtu: u16, pool: &Arc<Mempool>) -> Result<Device> {
        let name = vdev.split(',').next().unwrap_or(vdev);
        let config = PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: DESCRIPTORS,
            tx_descriptors: DESCRIPTORS,
            mtu,
            rss: false,
            promiscuous: true,
            pool: Arc::clone(pool),
        };
        let port = Port::configure(&Port::by_name(name)?, &config)?.start()?;
        let rx = port.rx_queue(0).with_context(|| format!("{name} has no receive queue"))?;
        let tx = port.tx_queue(0).with_context(|| format!("{name} has no transmit queue"))?;
        Ok(Device { rx, tx, port })
    }

    pub fn name(&self) -> &str {
        self.port.info().name()
    }
}
