//! Who may connect to a control socket, as `[control]` says it. Read at a daemon's start: it asks the system for
//! groups, which may take a while.

use crate::error::ConfigError;
use crate::reader::{Section, Value};
use getvpn_ctl::Permissions;
use nix::unistd::{Gid, Group};

/// The keys of `[control]` that are read here.
pub const KEYS: [&str; 2] = ["read_group", "socket_mode"];

/// Reads `read_group` and `socket_mode`.
///
/// # Errors
/// When there is no such group, or the mode is none that a socket can have.
pub fn permissions(section: &Section<'_>) -> Result<Permissions, ConfigError> {
    let mut permissions = Permissions::default();
    let named = section.get("read_group");
    if let Some(value) = &named {
        permissions = Permissions { mode: 0o660, group: Some(group(value)?) };
    }
    if let Some(value) = section.get("socket_mode") {
        permissions.mode = mode(&value)?;
        if let Some(group) = named.filter(|_| permissions.mode & 0o060 != 0o060) {
            let problem = format!(
                "has no effect with socket_mode {:04o}, which lets no group connect; remove one of them",
                permissions.mode
            );
            return Err(group.error(problem));
        }
    }
    Ok(permissions)
}

fn group(value: &Value<'_>) -> Result<u32, ConfigError> {
    let name = value.string("the name or the number of a group of this machine")?;
    let number = name.parse().ok().map(Gid::from_raw);
    let found = match number {
        Some(number) => return Ok(number.as_raw()),
        None => Group::from_name(name),
    };
    match found {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => {
            Err(value.error(format!("this machine has no group {name:?}; do `groupadd --system {name}`")))
        }
        Err(error) => Err(value.error(format!("this machine does not tell its groups: {error}"))),
    }
}

fn mode(value: &Value<'_>) -> Result<u32, ConfigError> {
    const WHAT: &str = "an octal mode as a string, such as \"0660\"";
    let text = value.string(WHAT)?;
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| text.len() <= 4);
    let mode = mode.ok_or_else(|| value.error(format!("expected {WHAT}, found {text:?}")))?;
    if mode & !0o666 != 0 || mode & 0o600 != 0o600 {
        let problem =
            format!("{text:?} is none for a socket: its owner reads and writes (0600), nobody executes");
        return Err(value.error(problem));
    }
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;
    use std::path::Path;

    fn read(text: &str) -> Result<Permissions, String> {
        let text = format!("[control]\n{text}");
        let document = Document::parse(Path::new("gm.toml"), &text).expect("TOML");
        let section = document.root().table("control").expect("a table").expect("there");
        permissions(&section).map_err(|error| error.to_string())
    }

    #[test]
    fn a_group_opens_the_socket_to_its_members_and_nothing_else_does() {
        assert_eq!(read(""), Ok(Permissions { mode: 0o600, group: None }));
        assert_eq!(read("read_group = \"root\""), Ok(Permissions { mode: 0o660, group: Some(0) }));
        assert_eq!(read("read_group = \"1234\""), Ok(Permissions { mode: 0o660, group: Some(1234) }));
        let all = "socket_mode = \"0666\"\nread_group = \"1234\"";
        assert_eq!(read(all), Ok(Permissions { mode: 0o666, group: Some(1234) }));
        assert_eq!(read("socket_mode = \"660\""), Ok(Permissions { mode: 0o660, group: None }));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_the_remedy() {
        for (text, at, words) in [
            ("read_group = \"nonsuch\"", "2:14", "groupadd --system nonsuch"),
            ("read_group = 7", "2:14", "found an integer"),
            ("socket_mode = 432", "2:15", "\"0660\""),
            ("socket_mode = \"0770\"", "2:15", "nobody executes"),
            ("socket_mode = \"0060\"", "2:15", "its owner reads and writes"),
            ("socket_mode = \"rw\"", "2:15", "octal"),
            ("socket_mode = \"0600\"\nread_group = \"1\"", "3:14", "has no effect with socket_mode 0600"),
        ] {
            let said = read(text).expect_err(text);
            assert!(said.contains(at) && said.contains(words), "{text}: {said}");
        }
    }
}
