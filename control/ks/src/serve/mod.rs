//! From the endpoints of the protocol to the authority and back. No I/O: [`KeyServer`] is all of it in
//! one piece, for tests and simulations; the daemon has the same parts on several threads.

mod desk;
mod directory;
mod key_server;
#[cfg(test)]
mod tests;

pub use desk::{Order, carry_out, take_event};
pub use directory::{Directory, endpoint_config};
pub use key_server::KeyServer;
