//! What a member shows to Prometheus: gathered by the control thread in one go, and made into a page by the
//! thread that serves it. Changes nothing.

mod page;

pub use page::page;

use crate::answers;
use crate::key_servers::{GroupFigures, KeyServers};
use crate::member::Member;
use crate::sad::Entry;
use getvpn_ctl::reply::{Parking, PortCounters, Status};
use getvpn_dataplane::counters::SaTotals;
use getvpn_dataplane::meter::Runtime;
use getvpn_dataplane::{Dataplane, LinkTally, ParkingLimits};
use getvpn_gdoi::member::sad::SaState;
use getvpn_metrics::{Asker, Endpoint, Limits, Listener, Question, questions};
use std::io;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What others ask for these figures: the endpoint, if there is one, which ends with this, and DPDK's telemetry.
#[derive(Debug)]
pub struct Questions {
    asker: Asker<Figures>,
    asked: mpsc::Receiver<Question<Figures>>,
    _endpoint: Option<Endpoint>,
}

impl Questions {
    /// Starts to serve where there is a listener. The new thread runs where the calling one may.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub fn start(listener: Option<Listener>) -> io::Result<Self> {
        let (asker, asked) = questions();
        let endpoint = listener.map(|listener| listener.serve(Limits::default(), asker.clone(), page));
        Ok(Self { asker, asked, _endpoint: endpoint.transpose()? })
    }

    /// For others that ask.
    #[must_use]
    pub fn asker(&self) -> &Asker<Figures> {
        &self.asker
    }

    /// The next one.
    pub async fn next(&mut self) -> Option<Question<Figures>> {
        self.asked.recv().await
    }
}

/// All that is shown, at one moment.
#[derive(Debug)]
pub struct Figures {
    pub(crate) status: Status,
    pub(crate) tallies: Vec<LinkTally>,
    ports: Vec<PortCounters>,
    /// Where the time of each worker went, in cycles of which a second has `hz`.
    runtime: Vec<Runtime>,
    hz: u64,
    /// Free and all buffers for frames.
    buffers: (u32, u32),
    parking: Parking,
    /// Unknown SPIs that are remembered, and how many were forgotten for want of room.
    unknown: (usize, u64),
    pub(crate) sas: Vec<SaFigures>,
    /// The groups that have key servers.
    groups: Vec<GroupFigures>,
}

/// An SA.
#[derive(Debug)]
pub(crate) struct SaFigures {
    pub(crate) group: usize,
    pub(crate) spi: u32,
    pub(crate) transform: &'static str,
    pub(crate) state: SaState,
    pub(crate) sends: bool,
    pub(crate) left: Option<Duration>,
    pub(crate) opened: SaTotals,
    pub(crate) sealed: SaTotals,
}

impl Figures {
    /// Gathers them.
    #[must_use]
    pub fn gather(
        member: &Member,
        key_servers: &KeyServers,
        plane: &Dataplane,
        parking: &ParkingLimits,
        now: Instant,
    ) -> Self {
        let sa = |entry: &Entry| SaFigures {
            group: entry.sa.group(),
            spi: entry.sa.spi(),
            transform: entry.sa.transform().name(),
            state: entry.state,
            sends: entry.sends,
            left: entry.lifetime_left(now),
            opened: entry.sa.opened(),
            sealed: entry.sa.sealed(),
        };
        Self {
            status: member.status(plane, key_servers, now),
            tallies: plane.counters(),
            ports: member.ports(plane),
            runtime: plane.runtime(),
            hz: dpdk::cycles_hz(),
            buffers: plane.buffers(),
            parking: answers::parking(plane.parking(), parking, plane.workers()),
            unknown: member.unknown_figures(),
            sas: member.sad().entries().iter().map(sa).collect(),
            groups: key_servers.figures(now),
        }
    }
}
