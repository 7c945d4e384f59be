//! A whole key server without I/O: one endpoint, the authority and a store. What it sends, it sends
//! after the store has what it rests on; when the store fails, nothing is sent until it works again.

use super::{Directory, Order, carry_out, take_event};
use crate::core::record::Damaged;
use crate::core::{Action, Authority, Batch, Event, FreshKey, Now, Settings};
use crate::store::{Store, StoreError};
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::server::{Server, ServerConfig, ServerEvent, Transmit};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// A key server.
pub struct KeyServer {
    server: Server,
    authority: Authority,
    directory: Arc<Directory>,
    store: Box<dyn Store>,
    /// What is not durable yet.
    held: Vec<Batch>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    refusals: VecDeque<ServerEvent>,
}

impl KeyServer {
    /// Starts, from what the store holds.
    ///
    /// # Errors
    /// When the store cannot be read or written, or does not make sense.
    pub fn new(
        endpoint: ServerConfig,
        directory: Arc<Directory>,
        settings: Settings,
        mut store: Box<dyn Store>,
        now: Now,
        random: &mut dyn Random,
    ) -> Result<Self, StoreError> {
        let stored = store.load()?;
        let authority = Authority::new(settings, stored, now, random).map_err(|e: Damaged| e)?;
        let mut key_server = Self {
            server: Server::new(endpoint),
            authority,
            directory,
            store,
            held: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            refusals: VecDeque::new(),
        };
        key_server.settle(now, random)?;
        Ok(key_server)
    }

    /// Takes a datagram that came to `local` from `from`.
    ///
    /// # Errors
    /// When the store fails; call [`KeyServer::settle`] until it does not.
    pub fn handle_datagram(
        &mut self,
        now: Now,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        random: &mut dyn Random,
    ) -> Result<(), StoreError> {
        self.receive(now, local, from, datagram, random);
        self.settle(now, random)
    }

    /// Takes a datagram as [`KeyServer::handle_datagram`] does, but leaves what follows from it to the next
    /// [`KeyServer::settle`], so that one commit serves several.
    pub fn receive(
        &mut self,
        now: Now,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        random: &mut dyn Random,
    ) {
        let unix = now.unix.as_secs();
        self.server.handle_datagram(now.instant, unix, local, from, datagram, random);
    }

    /// Does what is due by now.
    ///
    /// # Errors
    /// When the store fails; call [`KeyServer::settle`] until it does not.
    pub fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) -> Result<(), StoreError> {
        self.server.handle_timeout(now.instant, random);
        self.authority.handle_timeout(now, random);
        self.settle(now, random)
    }

    /// When [`KeyServer::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout().into_iter().chain(self.authority.poll_timeout()).min()
    }

    /// A datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Something that people want to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What phase 1 has established, ended or refused.
    pub fn poll_endpoint_event(&mut self) -> Option<ServerEvent> {
        self.refusals.pop_front()
    }

    /// The authority, to look at.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The endpoint, to look at.
    #[must_use]
    pub fn endpoint(&self) -> &Server {
        &self.server
    }

    /// Gives the authority a command, and does what follows.
    ///
    /// # Errors
    /// When the store fails; call [`KeyServer::settle`] until it does not.
    pub fn command<T>(
        &mut self,
        now: Now,
        random: &mut dyn Random,
        command: impl FnOnce(&mut Authority, &mut dyn Random) -> T,
    ) -> Result<T, StoreError> {
        let result = command(&mut self.authority, random);
        self.settle(now, random)?;
        Ok(result)
    }

    /// Does everything that is to be done: commits, then carries out, until nothing is left.
    ///
    /// # Errors
    /// When the store fails. What is not durable is kept, and nothing of it is carried out.
    pub fn settle(&mut self, now: Now, random: &mut dyn Random) -> Result<(), StoreError> {
        loop {
            while let Some(event) = self.server.poll_event() {
                if let ServerEvent::Established(_)
                | ServerEvent::Ended { .. }
                | ServerEvent::Hint { .. }
                | ServerEvent::Refused { .. } = event
                {
                    self.refusals.push_back(event);
                } else {
                    take_event(&mut self.authority, &self.directory, now, 0, event, random);
                }
            }
            let batch = self.authority.take_batch(now);
            if !batch.is_empty() {
                self.held.push(batch);
            }
            if self.held.is_empty() {
                break;
            }
            while !self.held.is_empty() {
                // A batch that failed half noticed may be made again: changes are absolute.
                if !self.held[0].changes.is_empty() {
                    self.store.commit(&self.held[0].changes)?;
                }
                for action in self.held.remove(0).actions {
                    self.act(now, action, random);
                }
            }
        }
        while let Some(transmit) = self.server.poll_transmit() {
            self.transmits.push_back(transmit);
        }
        Ok(())
    }

    fn act(&mut self, now: Now, action: Action, random: &mut dyn Random) {
        let order = match action {
            Action::Offer { pull, policy, compat } => Order::Offer(pull.pull, policy, compat),
            Action::Keys { pull, policy, keys, sequence } => Order::Keys(pull.pull, policy, keys, sequence),
            Action::Refuse { pull, why } => Order::Refuse(pull.pull, why),
            Action::Disconnect { address } => Order::Close(address),
            Action::Send { from, to, push } => {
                // What cannot be encoded was refused when the configuration was read.
                if let Ok(datagram) = push.datagram(random) {
                    self.transmits.push_back(Transmit { local: from, to, datagram: datagram.to_vec() });
                }
                return;
            }
            Action::MakeSigningKey { group, kind } => {
                if let Ok(key) = FreshKey::generate(kind, random) {
                    self.authority.signing_key(now, group, key, random);
                }
                return;
            }
            Action::Log(event) => return self.events.push_back(event),
        };
        carry_out(&mut self.server, now.instant, order, random);
    }
}
