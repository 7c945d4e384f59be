//! One request and one reply as a line of JSON each. Used by the client and by the daemons' control
//! thread; does no I/O.

use crate::Spi;
use crate::probe::{Bounds, Filter, Side, Stage};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;

/// The longest request, in octets, with its newline.
pub const MAX_REQUEST: usize = 64 * 1024;

/// The longest reply that a client reads, in octets, with its newline.
pub const MAX_REPLY: usize = 64 * 1024 * 1024;

/// What a client can ask of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", deny_unknown_fields)]
pub enum Command {
    /// What the daemon is and how its groups are. Answered by [`crate::reply::Status`].
    #[serde(rename = "status")]
    Status {},
    /// Packets and drops. Answered by [`crate::reply::Counters`].
    #[serde(rename = "counters")]
    Counters {
        /// Also for each worker and link.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        per: bool,
    },
    /// What is dropped or refused, why, how often, and whose was the last. Answered by [`crate::reply::Drops`].
    #[serde(rename = "drops")]
    Drops {
        /// Reasons that never happened, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all: bool,
        /// Does not count as a call that the next one's rates are since.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        peek: bool,
    },
    /// Where the time of a member's workers goes. Answered by [`crate::reply::Runtime`].
    #[serde(rename = "runtime")]
    Runtime {},
    /// All SAs. Answered by [`crate::reply::SaList`].
    #[serde(rename = "sa list")]
    SaList {},
    /// One SA with everything known about it. Answered by [`crate::reply::SaDetail`].
    #[serde(rename = "sa show")]
    SaShow {
        /// Which.
        spi: Spi,
    },
    /// Deletes an SA at this daemon. Answered by [`crate::reply::SaDeleted`].
    #[serde(rename = "sa delete")]
    SaDelete {
        /// Which.
        spi: Spi,
    },
    /// The keys of SAs. Answered by [`crate::reply::ExportedSas`], to root only.
    #[serde(rename = "sa export")]
    SaExport {
        /// Which; all where there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        spis: Vec<Spi>,
    },
    /// What a member's policy makes of a packet. Answered by [`crate::reply::PolicyHit`].
    #[serde(rename = "policy")]
    Policy {
        /// Source address.
        src: IpAddr,
        /// Destination address.
        dst: IpAddr,
        /// Upper-layer protocol number.
        protocol: u8,
        /// Source port; 0 for protocols without.
        #[serde(default)]
        src_port: u16,
        /// Destination port, likewise.
        #[serde(default)]
        dst_port: u16,
    },
    /// All that a member knows of an SPI. Answered by [`crate::reply::SpiKnown`].
    #[serde(rename = "spi")]
    Spi {
        /// Which.
        spi: Spi,
    },
    /// The SPIs that packets came with and that no SA has. Answered by [`crate::reply::UnknownSpis`].
    #[serde(rename = "unknown-spi")]
    UnknownSpi {},
    /// Follows the next packets that match through the member. Answered by [`crate::reply::ProbeStarted`].
    #[serde(rename = "trace")]
    Trace {
        /// Which.
        #[serde(default)]
        filter: Filter,
        /// How many.
        count: u32,
        /// How long to wait for them.
        timeout_s: u32,
    },
    /// Copies frames that match, on either side. Answered by [`crate::reply::ProbeStarted`].
    #[serde(rename = "capture")]
    Capture {
        /// Which.
        #[serde(default)]
        filter: Filter,
        /// On which ports.
        #[serde(default)]
        side: Side,
        /// At which end of their way.
        #[serde(default)]
        stage: Stage,
        /// How much.
        #[serde(default)]
        bounds: Bounds,
    },
    /// What a trace or a capture has met since it was read last. Answered by [`crate::reply::ProbePage`].
    #[serde(rename = "probe read")]
    ProbeRead {
        /// Its number.
        probe: u32,
    },
    /// Ends a trace or a capture. Answered by [`crate::reply::ProbePage`].
    #[serde(rename = "probe stop")]
    ProbeStop {
        /// Its number.
        probe: u32,
    },
    /// Who is in step: a member with its key servers, or the members with a key server. Answered by
    /// [`crate::reply::SyncReply`].
    #[serde(rename = "sync")]
    Sync {},
    /// Registers a group of a member again now. Answered by [`crate::reply::Resync`].
    #[serde(rename = "resync")]
    Resync {
        /// The group's name.
        group: String,
    },
    /// The groups of a key server. Answered by [`crate::reply::GroupList`].
    #[serde(rename = "group list")]
    GroupList {},
    /// The members of one. Answered by [`crate::reply::MemberList`].
    #[serde(rename = "member list")]
    MemberList {
        /// The group's name.
        group: String,
    },
    /// Removes a member, and gives all others new keys. Answered by [`crate::reply::MemberChanged`].
    #[serde(rename = "member remove")]
    MemberRemove {
        /// The group's name.
        group: String,
        /// The member's number.
        id: u32,
    },
    /// Lets a removed member register again. Answered by [`crate::reply::MemberChanged`].
    #[serde(rename = "member readmit")]
    MemberReadmit {
        /// The group's name.
        group: String,
        /// Who the member is, as `group list` shows it.
        name: String,
    },
    /// Makes a group's SAs anew. Answered by [`crate::reply::Rekeyed`].
    #[serde(rename = "rekey")]
    Rekey {
        /// The group's name.
        group: String,
        /// The Rekey SA as well.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        kek: bool,
    },
    /// What is well and what is not. Answered by [`crate::reply::Doctor`].
    #[serde(rename = "doctor")]
    Doctor {},
    /// Shows or changes what is logged. Answered by [`crate::reply::LogLevel`].
    #[serde(rename = "log level")]
    LogLevel {
        /// A level or a filter; absent: shows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<String>,
        /// For how many seconds; absent: until it is changed again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_s: Option<u32>,
    },
    /// Lets `counters` and `drops` start from zero. Answered by [`crate::reply::CountersReset`].
    #[serde(rename = "reset counters")]
    ResetCounters {},
    /// Reads the configuration again. Answered by [`crate::reply::Reloaded`].
    #[serde(rename = "reload")]
    Reload {
        /// Only to show what would change.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
}

impl Command {
    /// The names of all commands.
    pub const NAMES: [&str; 26] = [
        "status",
        "counters",
        "drops",
        "runtime",
        "sa list",
        "sa show",
        "sa delete",
        "sa export",
        "policy",
        "spi",
        "unknown-spi",
        "trace",
        "capture",
        "probe read",
        "probe stop",
        "sync",
        "resync",
        "group list",
        "member list",
        "member remove",
        "member readmit",
        "rekey",
        "doctor",
        "log level",
        "reset counters",
        "reload",
    ];

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Command::Status {} => "status",
            Command::Counters { .. } => "counters",
            Command::Drops { .. } => "drops",
            Command::Runtime {} => "runtime",
            Command::SaList {} => "sa list",
            Command::SaShow { .. } => "sa show",
            Command::SaDelete { .. } => "sa delete",
            Command::SaExport { .. } => "sa export",
            Command::Policy { .. } => "policy",
            Command::Spi { .. } => "spi",
            Command::UnknownSpi {} => "unknown-spi",
            Command::Trace { .. } => "trace",
            Command::Capture { .. } => "capture",
            Command::ProbeRead { .. } => "probe read",
            Command::ProbeStop { .. } => "probe stop",
            Command::Sync {} => "sync",
            Command::Resync { .. } => "resync",
            Command::GroupList {} => "group list",
            Command::MemberList { .. } => "member list",
            Command::MemberRemove { .. } => "member remove",
            Command::MemberReadmit { .. } => "member readmit",
            Command::Rekey { .. } => "rekey",
            Command::Doctor {} => "doctor",
            Command::LogLevel { .. } => "log level",
            Command::ResetCounters {} => "reset counters",
            Command::Reload { .. } => "reload",
        }
    }

    /// What a daemon answers that does not know the command, although others do.
    #[must_use]
    pub fn not_here(&self, daemon: &str) -> Fault {
        Fault::new(FaultCode::UnknownCommand, format!("{daemon} has no command {:?}", self.name()))
    }

    /// The request as a line of JSON, with its newline.
    #[must_use]
    pub fn encode(&self) -> String {
        #[derive(Serialize)]
        struct Request<'a> {
            version: u32,
            #[serde(flatten)]
            command: &'a Command,
        }
        json_line(&Request { version: VERSION, command: self })
    }

    /// Reads a request, without its newline.
    ///
    /// # Errors
    /// What to answer, when it is no JSON object, of another version, or not a command with its
    /// arguments.
    pub fn decode(line: &[u8]) -> Result<Command, Fault> {
        let malformed =
            |e: &dyn std::fmt::Display| Fault::new(FaultCode::Malformed, format!("no request: {e}"));
        let mut request: Map<String, Value> = serde_json::from_slice(line).map_err(|e| malformed(&e))?;
        let version = request.remove("version").ok_or_else(|| malformed(&"`version` is missing"))?;
        if version.as_u64() != Some(u64::from(VERSION)) {
            return Err(Fault::new(
                FaultCode::UnsupportedVersion,
                format!("the request is of version {version}, this daemon speaks version {VERSION}"),
            ));
        }
        let name = match request.get("command") {
            Some(Value::String(name)) => name.clone(),
            Some(other) => return Err(malformed(&format!("`command` is {other}, not a string"))),
            None => return Err(malformed(&"`command` is missing")),
        };
        if !Self::NAMES.contains(&name.as_str()) {
            return Err(Fault::new(
                FaultCode::UnknownCommand,
                format!("there is no command {name:?}; there are: {}", Self::NAMES.join(", ")),
            ));
        }
        serde_json::from_value(Value::Object(request))
            .map_err(|e| Fault::new(FaultCode::InvalidArgument, format!("{name}: {e}")))
    }
}

/// Why a daemon did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// For programs.
    pub code: FaultCode,
    /// For people.
    pub message: String,
}

impl Fault {
    /// A fault with its text.
    #[must_use]
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// The request is no JSON object with a version and a command.
    Malformed,
    /// The request is longer than [`MAX_REQUEST`].
    TooLong,
    /// The daemon does not speak this version of the protocol.
    UnsupportedVersion,
    /// There is no such command, or not at this daemon.
    UnknownCommand,
    /// An argument is missing, unknown, or not of its type.
    InvalidArgument,
    /// Not for this user.
    Forbidden,
    /// What the command names does not exist.
    NotFound,
    /// The daemon has too many clients, or too much to do.
    Busy,
    /// The daemon failed; its log says more.
    Internal,
    /// A kind that a newer daemon has.
    #[serde(other)]
    Other,
}

/// What a daemon answers, as it stands in the line.
#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    version: u32,
    ok: bool,
    #[serde(borrow)]
    reply: Option<&'a RawValue>,
    error: Option<Fault>,
}

/// An answer as a line of JSON, with its newline.
#[must_use]
pub(crate) fn encode_answer(answer: &Result<Box<RawValue>, Fault>) -> String {
    #[derive(Serialize)]
    struct Answer<'a> {
        version: u32,
        ok: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reply: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Fault>,
    }
    json_line(&Answer {
        version: VERSION,
        ok: answer.is_ok(),
        reply: answer.as_ref().ok().map(|raw| &**raw),
        error: answer.as_ref().err(),
    })
}

/// Reads an answer. The outer error says that it is none; the inner one is the daemon's.
pub(crate) fn decode_answer(line: &str) -> Result<Result<Box<RawValue>, Fault>, String> {
    let envelope: Envelope<'_> = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if envelope.version != VERSION {
        return Err(format!("version {} of the protocol, not {VERSION}", envelope.version));
    }
    match (envelope.ok, envelope.reply, envelope.error) {
        (true, Some(reply), _) => Ok(Ok(reply.to_owned())),
        (false, _, Some(fault)) => Ok(Err(fault)),
        _ => Err("neither a reply nor an error".into()),
    }
}

fn json_line(value: &impl Serialize) -> String {
    // Maps with string keys and plain values only: there is nothing that JSON cannot hold.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
pub(crate) mod tests;
