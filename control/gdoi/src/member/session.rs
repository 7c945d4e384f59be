//! The phase 1 with one key server: made when it is needed, kept alive by DPD, made anew as soon as it
//! seems that the key server has lost it, while the old one stays in use. What is not authenticated leads
//! at most to a question.

use super::config::{KeyServerConfig, MemberConfig};
use super::event::Phase1Loss;
use crate::crypto::Random;
use crate::ike::{
    DeadPeerDetection, DpdAction, DpdTiming, IkeError, IkeSa, InitiatorConfig, MainMode, Notice, Progress,
    unprotected_notify,
};
use crate::wire::CookiePair;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A question whose answer decides whether phase 1 is made anew waits for it so long.
const PATIENCE: Duration = Duration::from_millis(200);

/// Who was heard that lately is not asked whether it is there.
const FRESH: Duration = Duration::from_secs(1);

/// A phase 1 that is not established after so long is begun anew by the next registration.
const STALE: Duration = Duration::from_secs(2);

/// Hints in the clear lead to a question at most this often.
const HINT_PAUSE: Duration = Duration::from_secs(5);

/// Between two attempts to make phase 1 anew, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Session {
    pub(super) key_server: usize,
    address: SocketAddr,
    config: Arc<InitiatorConfig>,
    dpd: DpdTiming,
    made: Option<Made>,
    making: Option<MainMode>,
    making_since: Instant,
    /// Whether the key server was told that a message of it is refused: once for each attempt.
    complained: bool,
    /// Before that no phase 1 is made out of suspicion.
    make_from: Instant,
    pause: Duration,
    /// If nothing is heard until then, the key server has lost the phase 1.
    suspect_at: Option<Instant>,
    /// Whether it has: what is made now replaces one that was not to end yet.
    lost: bool,
    hint_from: Instant,
    outgoing: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Made {
    sa: Box<IkeSa>,
    dpd: DeadPeerDetection,
    heard: Instant,
    /// When a successor is made.
    renew: Instant,
}

/// What became of the phase 1.
#[derive(Debug)]
pub(super) enum Change {
    /// The key server had lost the one before, or not.
    Established {
        anew: bool,
    },
    /// A message of an attempt to make one is refused; the right one may still come.
    Refused,
    /// An attempt to make one has failed.
    Failed(IkeError),
    Lost(Phase1Loss),
}

impl Session {
    pub(super) fn new(key_server: usize, config: &MemberConfig, now: Instant) -> Option<Self> {
        let KeyServerConfig { address, phase1 } = config.key_servers.get(key_server)?;
        Some(Self {
            key_server,
            address: *address,
            config: Arc::clone(phase1),
            dpd: config.dpd,
            made: None,
            making: None,
            making_since: now,
            complained: false,
            make_from: now,
            pause: FIRST_PAUSE,
            suspect_at: None,
            lost: false,
            hint_from: now,
            outgoing: Vec::new(),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn sa(&mut self) -> Option<&mut IkeSa> {
        self.made.as_mut().map(|made| made.sa.as_mut())
    }

    pub(super) fn is_established(&self) -> bool {
        self.made.is_some()
    }

    /// When something that phase 1 protects came from the key server last.
    pub(super) fn last_heard(&self) -> Option<Instant> {
        self.made.as_ref().map(|made| made.heard)
    }

    pub(super) fn take_outgoing(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.outgoing)
    }

    /// Makes a phase 1, unless one was begun just now: one that is not answered repeats its messages ever
    /// more slowly.
    pub(super) fn make(&mut self, now: Instant, random: &mut dyn Random) -> Result<(), IkeError> {
        if self.making.is_some() && now.saturating_duration_since(self.making_since) < STALE {
            return Ok(());
        }
        self.making_since = now;
        self.complained = false;
        self.make_from = now + self.pause;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        let mut making = MainMode::initiate(Arc::clone(&self.config), self.address, now, random)?;
        self.outgoing.extend(making.poll_transmit());
        self.making = Some(making);
        Ok(())
    }

    /// Makes a phase 1 if the last attempt is long enough ago.
    pub(super) fn make_if_due(&mut self, now: Instant, random: &mut dyn Random) {
        if self.making.is_none() && now >= self.make_from {
            // An error would be a configuration without suites, which the first registration has told.
            let _ = self.make(now, random);
        }
    }

    /// When one may be made out of suspicion; `None` while one is being made.
    pub(super) fn next_make(&self) -> Option<Instant> {
        self.making.is_none().then_some(self.make_from)
    }

    /// The attempt to make one takes too long. Why it got no further, if there was one.
    pub(super) fn give_up_making(&mut self) -> Option<IkeError> {
        self.making.take().map(|mut making| making.give_up())
    }

    /// Whether a datagram's cookies are those of an established phase 1, or of one that is being made.
    pub(super) fn is_of_made(&self, cookies: CookiePair) -> bool {
        self.made.as_ref().is_some_and(|made| made.sa.cookies() == cookies)
    }

    pub(super) fn is_of_making(&self, cookies: CookiePair) -> bool {
        self.making.as_ref().is_some_and(|making| making.cookies().initiator == cookies.initiator)
    }

    /// A datagram of the phase 1 that is being made.
    pub(super) fn handle_making(
        &mut self,
        now: Instant,
        unix_time: u64,
        datagram: &[u8],
        random: &mut dyn Random,
    ) -> Option<Change> {
        let making = self.making.as_mut()?;
        let progress = making.handle(now, unix_time, datagram, random);
        self.outgoing.extend(making.poll_transmit());
        let (over, cookies) = (making.is_over(), making.cookies());
        match progress {
            Ok(Progress::Established(sa)) => {
                self.making = None;
                let left = sa.expires().saturating_duration_since(now);
                let renew = sa.expires() - (left / 10).min(Duration::from_secs(60));
                let dpd = DeadPeerDetection::new(self.dpd, now, random);
                self.made = Some(Made { sa, dpd, heard: now, renew });
                self.suspect_at = None;
                self.pause = FIRST_PAUSE;
                Some(Change::Established { anew: std::mem::take(&mut self.lost) })
            }
            Err(error) => {
                self.complain(cookies, &error);
                if over {
                    self.making = None;
                    return Some(Change::Failed(error));
                }
                Some(Change::Refused)
            }
            Ok(_) => None,
        }
    }

    /// What a protected Informational message of the established phase 1 says; DPD is seen to here.
    pub(super) fn handle_informational(
        &mut self,
        now: Instant,
        datagram: &[u8],
        random: &mut dyn Random,
    ) -> Result<Vec<Notice>, IkeError> {
        let Some(made) = &mut self.made else { return Err(IkeError::Cookies) };
        let notices = made.sa.open_informational(datagram)?;
        for notice in &notices {
            match *notice {
                Notice::RUThere(sequence) => {
                    if let Ok(answer) = made.dpd.question(sequence, now) {
                        self.outgoing.push(made.sa.notify(&[answer], random)?);
                    }
                }
                Notice::RUThereAck(sequence) if made.dpd.answer(sequence, now).is_err() => {
                    return Ok(notices);
                }
                _ => {}
            }
        }
        self.heard(now);
        Ok(notices)
    }

    /// Something that phase 1 protects came from the key server, and is new.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(made) = &mut self.made {
            made.heard = now;
            made.dpd.heard(now);
            self.suspect_at = None;
            self.lost = false;
        }
    }

    /// Says something to the key server over phase 1. If the key server was silent lately, or since it was
    /// told the same before, it is asked whether it is there: it may have lost the phase 1. False if there is
    /// no phase 1.
    pub(super) fn say(&mut self, notice: Notice, again: bool, now: Instant, random: &mut dyn Random) -> bool {
        let Some(made) = &mut self.made else { return false };
        self.outgoing.extend(made.sa.notify(&[notice], random));
        let fresh = if again { PATIENCE } else { FRESH };
        if now.saturating_duration_since(made.heard) >= fresh && self.suspect_at.is_none() {
            self.question(now, random);
        }
        true
    }

    /// Somebody says in the clear that the key server does not know the phase 1: worth a question, not more.
    pub(super) fn hint(&mut self, now: Instant, random: &mut dyn Random) {
        if now >= self.hint_from {
            self.hint_from = now + HINT_PAUSE;
            self.question(now, random);
        }
    }

    /// Whether the key server answers DPD.
    pub(super) fn supports_dpd(&self) -> bool {
        self.made.as_ref().is_some_and(|made| made.sa.peer().supports_dpd)
    }

    /// The key server has deleted the phase 1 with these cookies.
    pub(super) fn deleted(&mut self, cookies: CookiePair) -> Option<Change> {
        self.is_of_made(cookies).then(|| self.lose(Phase1Loss::Deleted))
    }

    /// Tells the key server that the phase 1 ends.
    pub(super) fn close(&mut self, random: &mut dyn Random) {
        if let Some(mut made) = self.made.take() {
            let cookies = made.sa.cookies();
            self.outgoing.extend(made.sa.notify(&[Notice::DeleteIkeSa(cookies)], random));
        }
        self.making = None;
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let making = self.making.as_ref().and_then(MainMode::poll_timeout);
        let made = self.made.as_ref().map(|made| {
            let renew =
                if self.making.is_some() { made.sa.expires() } else { made.renew.max(self.make_from) };
            let dpd = if made.sa.peer().supports_dpd { made.dpd.poll_timeout() } else { made.sa.expires() };
            dpd.min(renew).min(made.sa.expires())
        });
        let suspect = self.suspect_at.filter(|_| self.making.is_none()).map(|at| at.max(self.make_from));
        [making, made, suspect].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, random: &mut dyn Random) -> Option<Change> {
        if self.suspect_at.is_some_and(|at| at <= now) && self.making.is_none() && now >= self.make_from {
            self.suspect_at = None;
            self.lost = true;
            self.make_if_due(now, random);
        }
        if let Some(making) = &mut self.making {
            let result = making.handle_timeout(now, random);
            self.outgoing.extend(making.poll_transmit());
            if let Err(error) = result {
                self.making = None;
                return Some(Change::Failed(error));
            }
        }
        let made = self.made.as_mut()?;
        if made.sa.expires() <= now {
            return Some(self.lose(Phase1Loss::Expired));
        }
        if made.renew <= now && self.making.is_none() {
            self.make_if_due(now, random);
        }
        let made = self.made.as_mut()?;
        if !made.sa.peer().supports_dpd {
            return None;
        }
        match made.dpd.handle_timeout(now) {
            DpdAction::Nothing => None,
            DpdAction::Ask(notice) => {
                self.outgoing.extend(made.sa.notify(&[notice], random));
                None
            }
            DpdAction::Dead => Some(self.lose(Phase1Loss::Dead)),
        }
    }

    /// Tells the key server in the clear why a message of it is refused, so that its operator sees it too.
    fn complain(&mut self, cookies: CookiePair, error: &IkeError) {
        if let Some(why) = error.notify().filter(|_| !self.complained) {
            self.complained = true;
            self.outgoing.extend(unprotected_notify(cookies, why));
        }
    }

    fn question(&mut self, now: Instant, random: &mut dyn Random) {
        let Some(made) = self.made.as_mut().filter(|made| made.sa.peer().supports_dpd) else { return };
        let notice = made.dpd.ask(now);
        self.outgoing.extend(made.sa.notify(&[notice], random));
        self.suspect_at.get_or_insert(now + PATIENCE);
    }

    fn lose(&mut self, why: Phase1Loss) -> Change {
        self.made = None;
        self.suspect_at = None;
        self.lost = why != Phase1Loss::Expired;
        Change::Lost(why)
    }
}
