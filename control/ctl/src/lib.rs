//! The types of the control socket.
