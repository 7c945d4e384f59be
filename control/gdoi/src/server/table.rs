//! All phase 1s of an endpoint: found by cookies, by first message, by peer, by age, by the time when
//! something is due. Keeps the tables in step, and half-open phase 1s within bounds.

use super::ServerConfig;
use super::session::Session;
use crate::ike::MainMode;
use crate::wire::{Cookie, CookiePair, Header};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A phase 1, when its timer rings, and where it came to.
pub(super) struct Phase1 {
    pub(super) local: SocketAddr,
    pub(super) from: SocketAddr,
    timer: Instant,
    pub(super) state: State,
}

pub(super) enum State {
    /// `proven`: the source gets our answers, so it is no forged one.
    Negotiating {
        mode: Box<MainMode>,
        proven: bool,
    },
    Established(Session),
}

impl Phase1 {
    fn is_unproven(&self) -> bool {
        matches!(self.state, State::Negotiating { proven: false, .. })
    }

    fn due(&self) -> Instant {
        match &self.state {
            State::Negotiating { mode, .. } => mode.poll_timeout().unwrap_or(self.timer),
            State::Established(session) => session.poll_timeout(),
        }
    }
}

/// The tables.
#[derive(Default)]
pub(super) struct Phase1Table {
    /// Boxed, because a table has room for nearly twice as many as are in it.
    by_cookies: HashMap<CookiePair, Box<Phase1>>,
    /// Finds the phase 1 of a first message that comes again.
    by_first_message: HashMap<(SocketAddr, Cookie), CookiePair>,
    /// Half-open phase 1s, oldest first; some have gone on since.
    unproven: VecDeque<CookiePair>,
    /// How many half-open phase 1s each address has that gets our answers.
    proven: HashMap<IpAddr, usize>,
    half_open: usize,
    /// Established phase 1s by address and port, oldest first.
    by_peer: HashMap<SocketAddr, Vec<CookiePair>>,
    /// Established phase 1s by age.
    by_age: BTreeSet<(Instant, CookiePair)>,
    timers: BTreeSet<(Instant, CookiePair)>,
}

impl Phase1Table {
    /// The phase 1 that a message is for.
    pub(super) fn find(&self, from: SocketAddr, header: &Header) -> Option<CookiePair> {
        if header.responder_cookie == Cookie::ZERO {
            self.by_first_message.get(&(from, header.initiator_cookie)).copied()
        } else {
            Some(header.cookies()).filter(|cookies| self.by_cookies.contains_key(cookies))
        }
    }

    pub(super) fn get_mut(&mut self, cookies: CookiePair) -> Option<&mut Phase1> {
        self.by_cookies.get_mut(&cookies).map(|phase1| &mut **phase1)
    }

    pub(super) fn session(&mut self, cookies: CookiePair) -> Option<&mut Session> {
        match &mut self.by_cookies.get_mut(&cookies)?.state {
            State::Established(session) => Some(session),
            State::Negotiating { .. } => None,
        }
    }

    pub(super) fn of_peer(&self, peer: SocketAddr) -> Vec<CookiePair> {
        self.by_peer.get(&peer).cloned().unwrap_or_default()
    }

    pub(super) fn oldest(&self) -> Option<CookiePair> {
        self.by_age.first().map(|&(_, cookies)| cookies)
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.half_open, self.by_age.len())
    }

    /// Whether an address may begin another phase 1.
    pub(super) fn admits(&self, address: IpAddr, config: &ServerConfig) -> bool {
        self.proven.get(&address).is_none_or(|&n| n < config.max_half_open_per_address)
    }

    /// Makes room for a half-open phase 1: the oldest whose source may be forged goes. The first value says
    /// whether there is room, the second whether one had to go.
    pub(super) fn make_room(&mut self, config: &ServerConfig) -> (bool, bool) {
        if self.half_open < config.max_half_open {
            return (true, false);
        }
        while let Some(cookies) = self.unproven.pop_front() {
            if self.by_cookies.get(&cookies).is_some_and(|phase1| phase1.is_unproven()) {
                self.remove(cookies);
                return (true, true);
            }
        }
        (false, false)
    }

    /// Adds a half-open phase 1.
    pub(super) fn begin(&mut self, local: SocketAddr, from: SocketAddr, mode: MainMode, now: Instant) {
        let cookies = mode.cookies();
        self.by_first_message.insert((from, cookies.initiator), cookies);
        self.unproven.push_back(cookies);
        self.half_open += 1;
        let state = State::Negotiating { mode: Box::new(mode), proven: false };
        self.insert(cookies, Phase1 { local, from, timer: now, state });
        // What has gone on stays in the queue until it comes to its front.
        if self.unproven.len() > 2 * self.half_open + 64 {
            let by_cookies = &self.by_cookies;
            self.unproven
                .retain(|cookies| by_cookies.get(cookies).is_some_and(|phase1| phase1.is_unproven()));
        }
    }

    /// The source of a half-open phase 1 got our answer.
    pub(super) fn prove(&mut self, cookies: CookiePair) {
        let Some(phase1) = self.by_cookies.get_mut(&cookies) else { return };
        if let State::Negotiating { proven, .. } = &mut phase1.state
            && !std::mem::replace(proven, true)
        {
            *self.proven.entry(phase1.from.ip()).or_default() += 1;
        }
    }

    /// A half-open phase 1 becomes an established one.
    pub(super) fn establish(&mut self, cookies: CookiePair, session: impl FnOnce(Box<MainMode>) -> Session) {
        let Some(phase1) = self.by_cookies.remove(&cookies) else { return };
        let Phase1 { local, from, timer, state } = *phase1;
        let State::Negotiating { mode, proven } = state else { return };
        self.no_longer_half_open(from.ip(), proven);
        self.timers.remove(&(timer, cookies));
        let session = session(mode);
        self.by_peer.entry(from).or_insert_with(|| Vec::with_capacity(1)).push(cookies);
        self.by_age.insert((session.sa().created(), cookies));
        self.insert(cookies, Phase1 { local, from, timer, state: State::Established(session) });
    }

    /// Takes a phase 1 out.
    pub(super) fn remove(&mut self, cookies: CookiePair) -> Option<Phase1> {
        let phase1 = *self.by_cookies.remove(&cookies)?;
        self.timers.remove(&(phase1.timer, cookies));
        self.by_first_message.remove(&(phase1.from, cookies.initiator));
        match &phase1.state {
            State::Negotiating { proven, .. } => self.no_longer_half_open(phase1.from.ip(), *proven),
            State::Established(session) => {
                self.by_age.remove(&(session.sa().created(), cookies));
                if let Some(of_peer) = self.by_peer.get_mut(&phase1.from) {
                    of_peer.retain(|&c| c != cookies);
                    if of_peer.is_empty() {
                        self.by_peer.remove(&phase1.from);
                    }
                }
            }
        }
        Some(phase1)
    }

    /// When the first timer rings.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|&(due, _)| due)
    }

    /// The phase 1s whose timers have rung.
    pub(super) fn due(&self, now: Instant) -> Vec<CookiePair> {
        self.timers.iter().take_while(|&&(due, _)| due <= now).map(|&(_, cookies)| cookies).collect()
    }

    /// Sets the timer of a phase 1 by what it has to do next.
    pub(super) fn set_timer(&mut self, cookies: CookiePair) {
        let Some(phase1) = self.by_cookies.get_mut(&cookies) else { return };
        let due = phase1.due();
        if due != phase1.timer {
            self.timers.remove(&(phase1.timer, cookies));
            phase1.timer = due;
            self.timers.insert((due, cookies));
        }
    }

    fn insert(&mut self, cookies: CookiePair, mut phase1: Phase1) {
        phase1.timer = phase1.due();
        self.timers.insert((phase1.timer, cookies));
        self.by_cookies.insert(cookies, Box::new(phase1));
    }

    fn no_longer_half_open(&mut self, address: IpAddr, proven: bool) {
        self.half_open = self.half_open.saturating_sub(1);
        if proven && let Some(count) = self.proven.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.proven.remove(&address);
            }
        }
    }
}
