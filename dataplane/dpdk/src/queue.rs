//! A port's receive and transmit queues. Each belongs to one worker, which polls it in bursts.

use std::ptr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::mbuf::{Mbuf, spare_room};
use crate::port::OpenPort;

/// A receive queue; its one owner polls it. Keeps the port running.
#[derive(Debug)]
pub struct RxQueue {
    port: Arc<OpenPort>,
    queue: u16,
}

impl RxQueue {
    pub(crate) fn new(port: Arc<OpenPort>, queue: u16) -> RxQueue {
        RxQueue { port, queue }
    }

    /// Appends the packets that wait, as many as there is room for, without waiting; how many.
    #[inline]
    pub fn burst<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let room = u16::try_from(burst.remaining_capacity()).unwrap_or(u16::MAX);
        let spare = spare_room(burst);
        // SAFETY: the port is started and the queue exists; this is its only user (&mut, not Clone).
        // spare has room for that many pointers, which Mbuf is.
        let received = unsafe { sys::shim_eth_rx_burst(self.port.id(), self.queue, spare, room) }.min(room);
        // SAFETY: the driver has filled that many places with whole packets that are now ours alone.
        unsafe { burst.set_len(burst.len() + usize::from(received)) };
        usize::from(received)
    }

    /// DPDK's number of its port.
    #[must_use]
    pub fn port_id(&self) -> u16 {
        self.port.id()
    }
}

/// A transmit queue; its one owner fills it. Keeps the port running.
#[derive(Debug)]
pub struct TxQueue {
    port: Arc<OpenPort>,
    queue: u16,
}

impl TxQueue {
    pub(crate) fn new(port: Arc<OpenPort>, queue: u16) -> TxQueue {
        TxQueue { port, queue }
    }

    /// Hands as many packets from the front of the burst to the device as it takes; how many. The others
    /// stay, in order, for another try.
    #[inline]
    pub fn burst<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let count = burst.len();
        let offered = u16::try_from(count).unwrap_or(u16::MAX);
        let packets = burst.as_mut_ptr();
        // SAFETY: the port is started and the queue exists; this is its only user (&mut, not Clone). The
        // packets are that many pointers, which Mbuf is; the driver takes a prefix of them over.
        let sent = unsafe { sys::shim_eth_tx_burst(self.port.id(), self.queue, packets.cast(), offered) };
        let sent = usize::from(sent.min(offered));
        let left = count - sent;
        // SAFETY: the first `sent` packets are the driver's now and are overwritten without being
        // dropped; the `left` ones behind them move to the front and remain within the length.
        unsafe {
            ptr::copy(packets.add(sent), packets, left);
            burst.set_len(left);
        }
        sent
    }

    /// DPDK's number of its port.
    #[must_use]
    pub fn port_id(&self) -> u16 {
        self.port.id()
    }
}
