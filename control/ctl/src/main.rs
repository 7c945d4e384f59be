//! `getvpnctl`: asks a daemon one thing over its control socket and prints the answer. Keeps no state.

mod export;
mod probing;
mod top;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use getvpn_ctl::access::Access;
use getvpn_ctl::client::{self, ClientError};
use getvpn_ctl::{Command, DEFAULT_GM_SOCKET, Spi, pages, render, reply};
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXIT_CODES: &str = "Exit status:
  0  done
  1  the daemon said no; its message is on standard error. doctor: something is red
  2  the command line is wrong, or the pages could not be written
  3  the daemon could not be reached, or gave no answer that makes sense";

/// Asks a getvpn daemon what it is doing, or tells it to do something.
#[derive(Debug, Parser)]
#[command(name = "getvpnctl", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Arguments {
    /// The daemon's control socket.
    #[arg(long, global = true, env = "GETVPN_SOCKET", value_name = "PATH", default_value = DEFAULT_GM_SOCKET)]
    socket: PathBuf,

    /// Print the reply as it came, one line of JSON. A refusal is printed as {"error":{...}}.
    #[arg(long, global = true)]
    json: bool,

    /// Seconds to wait for the answer.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,

    /// Ask again every so many seconds, until interrupted: for commands that change nothing. On a terminal an answer
    /// takes the place of the one before; elsewhere it follows, behind a line with the time; with --json, a line each.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = watch::interval)]
    watch: Option<Duration>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    #[command(flatten)]
    Ask(Request),
    /// A live view in the terminal: throughput, workers, drops, groups and SAs of a member, or groups, members and
    /// requests of a key server. q ends it.
    Top,
    /// Writes completions for a shell to standard output.
    Completions {
        /// Which.
        shell: Shell,
    },
    /// Writes the manual pages into a directory.
    Man {
        /// Which; it is made where there is none.
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Request {
    /// What the daemon is, its links and its groups.
    Status,
    /// Packets in and out, and drops by reason.
    Counters {
        /// Also for each link and worker.
        #[arg(long)]
        per: bool,
    },
    /// What is dropped or refused: how often, what it means, what to do, and whose was the last.
    Drops {
        /// Also the reasons that never happened.
        #[arg(long)]
        all: bool,
        /// Leave the point in time that the next call's rates are since where it is.
        #[arg(long)]
        peek: bool,
    },
    /// Member: where its workers' time goes: load, cycles a packet by stage, size of bursts.
    Runtime,
    /// Security associations.
    #[command(subcommand)]
    Sa(SaRequest),
    /// What policy makes of a packet: the rule that it hits, and the SA that it is sealed with.
    Policy {
        /// Its source address.
        src: IpAddr,
        /// Its destination address.
        dst: IpAddr,
        /// Its protocol: tcp, udp, icmp, icmpv6, sctp, esp, gre, or a number.
        #[arg(long, default_value = "udp", value_parser = protocol)]
        protocol: u8,
        /// Its source port.
        #[arg(long, default_value_t = 0)]
        src_port: u16,
        /// Its destination port.
        #[arg(long, default_value_t = 0)]
        dst_port: u16,
    },
    /// All that is known of an SPI: its SA, the packets that came without one, how asking for it went.
    Spi {
        /// The SPI, such as 0x00010001 or 65537.
        spi: Spi,
    },
    /// The SPIs that packets came with and that no SA has.
    UnknownSpi,
    /// The next packets that match: each step of their way through the member, with its decision. Waits for them
    /// as long as --timeout says.
    Trace(probing::TraceArguments),
    /// Writes packets that match to a pcapng file, on either side, before and after cryptography, with the reasons
    /// of drops as comments. The file holds cleartext.
    Capture(probing::CaptureArguments),
    /// Who is in step: a member with its key servers, or the members with a key server; what was asked for, and
    /// how that went.
    Sync,
    /// Registers a group of a member again now.
    Resync {
        /// The group's name.
        group: String,
    },
    /// Key server: groups.
    #[command(subcommand)]
    Group(GroupRequest),
    /// Key server: members of a group.
    #[command(subcommand)]
    Member(MemberRequest),
    /// Key server: makes a group's SAs anew, now.
    Rekey {
        /// The group's name.
        group: String,
        /// The Rekey SA as well.
        #[arg(long)]
        kek: bool,
    },
    /// What is well and what is not, of the daemon and its machine, each with what to do. Ends with 1 if any is red.
    Doctor,
    /// What is logged.
    #[command(subcommand)]
    Log(LogRequest),
    /// Starts something from zero.
    #[command(subcommand)]
    Reset(ResetRequest),
    /// Reads the configuration again.
    Reload {
        /// Only show what would change.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
enum LogRequest {
    /// Shows what is logged, or changes it while the daemon runs.
    Level {
        /// error, warn, info, debug, trace, off, or a filter such as info,getvpn_gdoi=debug; without it, shows it.
        level: Option<String>,
        /// Only for so many seconds; then as at the daemon's start.
        #[arg(long = "for", value_name = "SECONDS", requires = "level",
              value_parser = clap::value_parser!(u32).range(1..=604_800))]
        for_s: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
enum ResetRequest {
    /// `counters` and `drops` say what happens from now on. Metrics and --summary are not touched.
    Counters,
}

#[derive(Debug, Subcommand)]
enum GroupRequest {
    /// All groups with their state.
    List,
}

#[derive(Debug, Subcommand)]
enum MemberRequest {
    /// All members of a group.
    List {
        /// The group's name.
        group: String,
    },
    /// Removes a member for good, and gives all others new keys.
    Remove {
        /// The group's name.
        group: String,
        /// The member's number, as `member list` shows it.
        id: u32,
    },
    /// Lets a removed member register again.
    Readmit {
        /// The group's name.
        group: String,
        /// Who it is, as `group list` shows it.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum SaRequest {
    /// All SAs, the oldest first.
    List,
    /// Everything about one SA but its keys.
    Show {
        /// Its SPI, such as 0x00010001 or 65537.
        spi: Spi,
    },
    /// Writes the keys of SAs as Wireshark's ESP dissector reads them (its file esp_sa). For root only: whoever has
    /// them reads all that is protected with them.
    Export(export::ExportArguments),
    /// Deletes an SA at this daemon only.
    Delete {
        /// Its SPI, such as 0x00010001 or 65537.
        spi: Spi,
    },
}

impl Request {
    fn command(&self) -> Command {
        match self {
            Request::Status => Command::Status {},
            Request::Counters { per } => Command::Counters { per: *per },
            Request::Drops { all, peek } => Command::Drops { all: *all, peek: *peek },
            Request::Runtime => Command::Runtime {},
            Request::Sa(SaRequest::List) => Command::SaList {},
            Request::Sa(SaRequest::Show { spi }) => Command::SaShow { spi: *spi },
            Request::Sa(SaRequest::Export(wanted)) => wanted.command(),
            Request::Sa(SaRequest::Delete { spi }) => Command::SaDelete { spi: *spi },
            Request::Policy { src, dst, protocol, src_port, dst_port } => Command::Policy {
                src: *src,
                dst: *dst,
                protocol: *protocol,
                src_port: *src_port,
                dst_port: *dst_port,
            },
            Request::Spi { spi } => Command::Spi { spi: *spi },
            Request::UnknownSpi => Command::UnknownSpi {},
            Request::Trace(trace) => trace.command(1),
            Request::Capture(capture) => capture.command(),
            Request::Sync => Command::Sync {},
            Request::Resync { group } => Command::Resync { group: group.clone() },
            Request::Group(GroupRequest::List) => Command::GroupList {},
            Request::Member(MemberRequest::List { group }) => Command::MemberList { group: group.clone() },
            Request::Member(MemberRequest::Remove { group, id }) => {
                Command::MemberRemove { group: group.clone(), id: *id }
            }
            Request::Member(MemberRequest::Readmit { group, name }) => {
                Command::MemberReadmit { group: group.clone(), name: name.clone() }
            }
            Request::Rekey { group, kek } => Command::Rekey { group: group.clone(), kek: *kek },
            Request::Doctor => Command::Doctor {},
            Request::Log(LogRequest::Level { level, for_s }) => {
                Command::LogLevel { level: level.clone(), for_s: *for_s }
            }
            Request::Reset(ResetRequest::Counters) => Command::ResetCounters {},
            Request::Reload { dry_run } => Command::Reload { dry_run: *dry_run },
        }
    }

    /// The reply as tables and sentences.
    fn render(&self, json: &str) -> Result<String, serde_json::Error> {
        Ok(match self {
            Request::Status => render::status(&parse::<reply::Status>(json)?),
            Request::Counters { .. } => render::counters(&parse::<reply::Counters>(json)?),
            Request::Drops { .. } => render::drops(&parse::<reply::Drops>(json)?),
            Request::Runtime => render::runtime(&parse::<reply::Runtime>(json)?),
            Request::Sa(SaRequest::List) => render::sa_list(&parse::<reply::SaList>(json)?),
            Request::Sa(SaRequest::Show { .. }) => render::sa_detail(&parse::<reply::SaDetail>(json)?),
            Request::Sa(SaRequest::Delete { .. }) => render::sa_deleted(&parse::<reply::SaDeleted>(json)?),
            Request::Policy { .. } => render::policy_hit(&parse::<reply::PolicyHit>(json)?),
            Request::Spi { .. } => render::spi_known(&parse::<reply::SpiKnown>(json)?),
            Request::UnknownSpi => render::unknown_spis(&parse::<reply::UnknownSpis>(json)?),
            // Each has a way of its own.
            Request::Sa(SaRequest::Export(_)) | Request::Trace(_) | Request::Capture(_) => String::new(),
            Request::Sync => render::sync_reply(&parse::<reply::SyncReply>(json)?),
            Request::Resync { .. } => render::resync(&parse::<reply::Resync>(json)?),
            Request::Group(GroupRequest::List) => render::group_list(&parse::<reply::GroupList>(json)?),
            Request::Member(MemberRequest::List { .. }) => {
                render::member_list(&parse::<reply::MemberList>(json)?)
            }
            Request::Member(_) => render::member_changed(&parse::<reply::MemberChanged>(json)?),
            Request::Rekey { .. } => render::rekeyed(&parse::<reply::Rekeyed>(json)?),
            Request::Doctor => render::doctor(&parse::<reply::Doctor>(json)?),
            Request::Log(_) => render::log_level(&parse::<reply::LogLevel>(json)?),
            Request::Reset(_) => render::counters_reset(&parse::<reply::CountersReset>(json)?),
            Request::Reload { .. } => render::reloaded(&parse::<reply::Reloaded>(json)?),
        })
    }
}

/// A protocol by its name or number.
fn protocol(text: &str) -> Result<u8, String> {
    const NAMES: [(&str, u8); 7] =
        [("icmp", 1), ("tcp", 6), ("udp", 17), ("gre", 47), ("esp", 50), ("icmpv6", 58), ("sctp", 132)];
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|&(_, number)| number);
    named
        .or_else(|| text.parse().ok())
        .ok_or_else(|| "expected tcp, udp, icmp, icmpv6, sctp, esp, gre, or a number".into())
}

fn parse<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(json)
}

fn main() -> ExitCode {
    // clap itself ends a wrong command line with exit status 2.
    let arguments = Arguments::parse();
    let request = match &arguments.action {
        Action::Ask(request) => request,
        Action::Top => return live(&arguments),
        Action::Completions { shell } => {
            return written(pages::completions(Arguments::command(), *shell, &mut io::stdout().lock()));
        }
        Action::Man { dir } => return written(pages::man(Arguments::command(), "1", dir)),
    };
    if let Some(every) = arguments.watch {
        if request.command().access() != Access::Read {
            eprintln!(
                "getvpnctl: --watch would do it again and again; {:?} does more than show something",
                request.command().name()
            );
            return ExitCode::from(2);
        }
        return watch::watch(&arguments, request, every);
    }
    match ask(&arguments, request) {
        Ok((output, _)) if output.is_empty() => ExitCode::SUCCESS,
        Ok((output, is_bad)) => {
            let status = printed(print(&output));
            if is_bad { ExitCode::from(1) } else { status }
        }
        Err(error) => report(&arguments, error),
    }
}

fn live(arguments: &Arguments) -> ExitCode {
    if arguments.json || arguments.watch.is_some() {
        eprintln!(
            "getvpnctl: top draws on a terminal and refreshes itself: neither --json nor --watch is for it"
        );
        return ExitCode::from(2);
    }
    match top::run(&arguments.socket, Duration::from_secs(arguments.timeout.into())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(top::TopError::Client(error)) => report(arguments, error),
        Err(error) => {
            eprintln!("getvpnctl: {error}");
            ExitCode::from(2)
        }
    }
}

/// What to print, and whether it says that something is wrong.
fn ask(arguments: &Arguments, request: &Request) -> Result<(String, bool), ClientError> {
    let limit = Duration::from_secs(arguments.timeout.into());
    let daemon = probing::Daemon { socket: &arguments.socket, json: arguments.json };
    let shown = match request {
        Request::Trace(trace) => Some(probing::trace(&daemon, &trace.command(arguments.timeout))),
        Request::Capture(capture) => Some(probing::capture(&daemon, capture)),
        Request::Sa(SaRequest::Export(wanted)) => Some(export::export(&daemon, wanted)),
        _ => None,
    };
    if let Some(shown) = shown {
        return shown.map(|text| (text, false));
    }
    let reply = client::ask(&arguments.socket, &request.command(), limit)?;
    let is_bad = matches!(request, Request::Doctor)
        && parse::<reply::Doctor>(&reply).is_ok_and(|reply| reply.is_red());
    if arguments.json {
        return Ok((reply, is_bad));
    }
    request
        .render(&reply)
        .map(|text| (text, is_bad))
        .map_err(|e| ClientError::Protocol(arguments.socket.clone(), format!("{e}; --json shows it")))
}

/// Says why there is no answer.
fn report(arguments: &Arguments, error: ClientError) -> ExitCode {
    eprintln!("getvpnctl: {error}");
    match error {
        ClientError::Refused(fault) => {
            if arguments.json {
                let _ = print(&serde_json::json!({ "error": fault }).to_string());
            }
            ExitCode::from(1)
        }
        _ => ExitCode::from(3),
    }
}

fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("getvpnctl: {error}");
            ExitCode::from(2)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Prints, with colours where the reader wants them: on a terminal, and not with NO_COLOR.
fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    writeln!(out, "{}", text.trim_end())?;
    out.flush()
}

/// It is no failure when the reader (`head`, `less`) has had enough.
fn printed(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("getvpnctl: standard output: {error}");
            ExitCode::from(3)
        }
        _ => ExitCode::SUCCESS,
    }
}
