//! `getvpnctl --watch`: the same command again and again. On a terminal each answer takes the place of the one
//! before; elsewhere each follows the one before, behind a line with the time.

use crate::{Arguments, Request, ask, print, printed, report};
use getvpn_ctl::client::ClientError;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An interval in seconds.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds, such as 2 or 0.5".to_owned())?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("from 0.1 to 3600 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Asks until it is interrupted or nobody reads what it prints. Whoever asks in vain the first time is told at once,
/// as without `--watch`; a daemon that goes away later may come back.
pub(crate) fn watch(arguments: &Arguments, request: &Request, every: Duration) -> ExitCode {
    let on_terminal = io::stdout().is_terminal() && !arguments.json;
    let mut first = true;
    loop {
        let begun = Instant::now();
        let text = match ask(arguments, request) {
            Ok((text, _)) => text,
            Err(error) if first || matches!(error, ClientError::Refused(_)) => {
                return report(arguments, error);
            }
            Err(error) if on_terminal => format!("getvpnctl: {error}"),
            Err(error) => {
                eprintln!("{}  getvpnctl: {error}", now());
                pause(begun, every);
                continue;
            }
        };
        let result = if arguments.json {
            print(&text)
        } else if on_terminal {
            print(&screen(&text, every))
        } else {
            print(&format!("{}--- {}\n{text}", if first { "" } else { "\n" }, now()))
        };
        if result.is_err() {
            return printed(result);
        }
        first = false;
        pause(begun, every);
    }
}

/// Overwrites what is there instead of clearing it first, so that nothing flickers; what is longer than the terminal
/// scrolls.
fn screen(text: &str, every: Duration) -> String {
    let mut screen = format!("\x1b[H\x1b[2Kevery {} s, {}\x1b[K\n\x1b[K\n", every.as_secs_f64(), now());
    for line in text.trim_end().lines() {
        screen.push_str(line);
        screen.push_str("\x1b[K\n");
    }
    screen.push_str("\x1b[J");
    screen
}

fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_millisecond(now.millisecond()).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

fn pause(begun: Instant, every: Duration) {
    thread::sleep(every.saturating_sub(begun.elapsed()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_from_a_tenth_of_a_second_to_an_hour() {
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("0.1"), Ok(Duration::from_millis(100)));
        for wrong in ["0", "-1", "3601", "NaN", "inf", "soon", ""] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_screen_overwrites_the_one_before_and_clears_what_is_left_of_it() {
        let screen = screen("a\nb\n", Duration::from_secs(2));
        assert!(screen.starts_with("\x1b[H\x1b[2Kevery 2 s, 2"), "{screen:?}");
        assert!(screen.ends_with("a\x1b[K\nb\x1b[K\n\x1b[J"), "{screen:?}");
    }
}
