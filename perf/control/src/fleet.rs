//! All members of a group beside one key server, in one process and in step: all members write, then the
//! key server takes what they wrote. So the two sides can be timed apart.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use getvpn_gdoi::crypto::SystemRandom;
use getvpn_gdoi::member::{GroupMember, MemberEvent};
use getvpn_gdoi::server::Transmit;
use getvpn_ks::serve::KeyServer;

use crate::site::{Site, clocks};

/// How many datagrams the key server takes before it settles what follows from them, with one commit.
pub const AT_ONCE: usize = 64;

/// The members.
pub struct Fleet {
    members: Vec<GroupMember>,
    /// How many are registered.
    pub registered: usize,
    /// Virtual time.
    pub now: Instant,
}

/// A datagram to the key server, by the number of its sender.
pub type Sent = (usize, Vec<u8>);

impl Fleet {
    /// All members of a site, none of them registered.
    ///
    /// # Errors
    /// None that is known.
    pub fn new(site: &Site, now: Instant) -> Result<Fleet> {
        let members = (0..site.size()).map(|number| site.member(number, now)).collect::<Result<_>>()?;
        Ok(Fleet { members, registered: 0, now })
    }

    /// What the members write now.
    pub fn outgoing(&mut self) -> Vec<Sent> {
        let now = self.now;
        let mut sent = Vec::new();
        for (number, member) in self.members.iter_mut().enumerate() {
            if member.poll_timeout().is_some_and(|due| due <= now) {
                member.handle_timeout(now, &mut SystemRandom);
            }
            sent.extend(
                std::iter::from_fn(|| member.poll_transmit()).map(|transmit| (number, transmit.bytes)),
            );
            while let Some(event) = member.poll_event() {
                self.registered += usize::from(matches!(event, MemberEvent::Registered { .. }));
            }
        }
        sent
    }

    /// Hands the members what the key server sent them; by multicast, to all.
    pub fn deliver(&mut self, site: &Site, transmits: Vec<Transmit>) {
        let unix = clocks(self.now).unix.as_secs();
        for Transmit { local, to, datagram } in transmits {
            let to = match site.number(to) {
                Some(number) => number..number + 1,
                None => 0..self.members.len(),
            };
            for member in &mut self.members[to] {
                member.handle_datagram(self.now, unix, local, &datagram, &mut SystemRandom);
            }
        }
    }

    /// Registers all. `take` has the key server take what members wrote, and gives back what it sends; it is
    /// told which message of a registration these are, from 0 on.
    ///
    /// # Errors
    /// What `take` fails with, or not all have registered.
    pub fn register(
        &mut self,
        site: &Site,
        mut take: impl FnMut(usize, Vec<Sent>, Instant) -> Result<Vec<Transmit>>,
    ) -> Result<()> {
        for message in 0.. {
            let sent = self.outgoing();
            if sent.is_empty() {
                break;
            }
            ensure!(message < 20, "registrations take more messages than there are");
            let replies = take(message, sent, self.now)?;
            self.deliver(site, replies);
        }
        let all = self.members.len();
        ensure!(self.registered == all, "{} of {all} members have registered", self.registered);
        Ok(())
    }

    /// All members leave. Gives back what they write to the key server for it.
    pub fn stop(&mut self) -> Vec<Sent> {
        self.members.iter_mut().for_each(|member| member.stop(self.now, &mut SystemRandom));
        self.outgoing()
    }

    /// Lets virtual time pass.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// Has the key server take datagrams, a commit for every [`AT_ONCE`], and gives back what it sends.
///
/// # Errors
/// The store fails.
pub fn take(key_server: &mut KeyServer, site: &Site, sent: &[Sent], now: Instant) -> Result<Vec<Transmit>> {
    let mut replies = Vec::with_capacity(sent.len());
    let now = clocks(now);
    for some in sent.chunks(AT_ONCE) {
        for (number, datagram) in some {
            key_server.receive(now, site.server, site.address(*number), datagram, &mut SystemRandom);
        }
        key_server.settle(now, &mut SystemRandom)?;
        hand_out(key_server, &mut replies);
    }
    Ok(replies)
}

/// Takes what a key server has to send, and forgets what it has to tell.
pub fn hand_out(key_server: &mut KeyServer, replies: &mut Vec<Transmit>) {
    while let Some(transmit) = key_server.poll_transmit() {
        replies.push(transmit);
    }
    while key_server.poll_event().is_some() {}
    while key_server.poll_endpoint_event().is_some() {}
}
