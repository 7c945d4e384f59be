//! Replay windows as they are written in a configuration, for manual SAs and for those of key servers.
//! Control thread, at the start; no I/O.

use getvpn_config::{ConfigError, Section};
use getvpn_dataplane::ReplayPolicy;
use getvpn_dataplane::transform::Transform;

const DEFAULT_WINDOW: u32 = 1024;
const DEFAULT_SENDERS: u32 = 64;
/// Of a group whose senders are counted by its key server.
const DEFAULT_GROUP_SENDERS: u32 = 4096;

/// Reads `replay` and what belongs to it. `transform` is `None` for SAs that come from a key server: then
/// each sender has a window unless something else is said.
pub(super) fn read(
    section: &Section<'_>,
    transform: Option<Transform>,
    sends: bool,
    workers: usize,
) -> Result<ReplayPolicy, ConfigError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        None,
        Counter,
        Sender,
    }
    let value = section.get("replay");
    let kind = match &value {
        Some(value) => {
            value.choice(&[("none", Kind::None), ("counter", Kind::Counter), ("sender", Kind::Sender)])?
        }
        None if transform.is_none() => Kind::Sender,
        None => Kind::None,
    };
    let window_value = section.get("replay_window");
    let senders_value = section.get("replay_senders");
    if let (Some(window), Kind::None) = (&window_value, kind) {
        return Err(
            window.error("has no effect without replay = \"counter\" or \"sender\"; add one or remove it")
        );
    }
    if let (Some(senders), Kind::None | Kind::Counter) = (&senders_value, kind) {
        return Err(senders.error("has no effect without replay = \"sender\"; add that or remove it"));
    }
    let window = match window_value {
        Some(value) => value.integer(64..=65536, "a window in packets")?,
        None => DEFAULT_WINDOW,
    };
    match (kind, &value) {
        (Kind::Sender, Some(value)) if has_no_sender(transform) => Err(value.error(format!(
            "{} carries no sender ID in its IV; use replay = \"none\", \"counter\", or a counter-mode transform such as aes-128-gcm",
            transform.map_or("it", Transform::name)
        ))),
        (Kind::Counter, Some(value)) if workers > 1 && sends => Err(value.error(format!(
            "a counter window follows one sender, and the {workers} workers of this member are {workers} senders; use {}one worker core",
            if !has_no_sender(transform) { "replay = \"sender\" or " } else { "replay = \"none\" or " }
        ))),
        (Kind::None, _) => Ok(ReplayPolicy::None),
        (Kind::Counter, _) => Ok(ReplayPolicy::Counter { window }),
        (Kind::Sender, _) => {
            let max_senders = match senders_value {
                Some(value) => value.integer(1..=65536, "a number of senders")?,
                None if transform.is_none() => DEFAULT_GROUP_SENDERS,
                None => DEFAULT_SENDERS,
            };
            Ok(ReplayPolicy::Sender { window, max_senders })
        }
    }
}

/// Whether IVs are known not to tell who sent them.
fn has_no_sender(transform: Option<Transform>) -> bool {
    transform.is_some_and(|transform| !transform.is_counter_mode())
}
