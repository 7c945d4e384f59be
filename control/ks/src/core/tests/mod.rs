//! The authority with a store and members that follow its messages word for word, in one process with
//! virtual time. What must always hold is checked at every message ([`world::World`]).

mod lifecycle;
mod properties;
mod registration;
mod removal;
pub(crate) mod settings;
mod world;
