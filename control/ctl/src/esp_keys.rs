//! Keys as Wireshark's ESP dissector reads them: its table `esp_sa`, a line for each SA and family. Does no
//! I/O.

use crate::reply::ExportedSa;
use std::fmt::Write;

/// The names of Wireshark for a transform: cipher and integrity algorithm.
fn names(transform: &str) -> Option<(&'static str, &'static str)> {
    const GCM: &str = "AES-GCM with 16 octet ICV [RFC4106]";
    const CBC: &str = "AES-CBC [RFC3602]";
    const SHA256: &str = "HMAC-SHA-256-128 [RFC4868]";
    const SHA1: &str = "HMAC-SHA-1-96 [RFC2404]";
    Some(match transform {
        "aes-128-gcm" | "aes-256-gcm" => (GCM, "NULL"),
        "aes-128-cbc-hmac-sha256" | "aes-256-cbc-hmac-sha256" => (CBC, SHA256),
        "aes-128-cbc-hmac-sha1" | "aes-256-cbc-hmac-sha1" => (CBC, SHA1),
        "null-hmac-sha256" => ("NULL", SHA256),
        "null-hmac-sha1" => ("NULL", SHA1),
        // It has neither ChaCha20-Poly1305 nor AES-GMAC for ESP.
        _ => return None,
    })
}

/// The table. What Wireshark cannot open is named in a comment, without its keys.
#[must_use]
pub fn esp_sa(sas: &[ExportedSa]) -> String {
    let mut table = String::from(
        "# Keys of getvpn SAs for Wireshark: ~/.config/wireshark/esp_sa, with \"Attempt to detect/decode encrypted\n\
         # ESP payloads\" in the preferences of ESP (tshark -o esp.enable_encryption_decode:TRUE). KEEP IT SECRET.\n",
    );
    for sa in sas {
        let Some((cipher, integrity)) = names(&sa.transform) else {
            let _ =
                writeln!(table, "# {} of group {}: Wireshark cannot open {}", sa.spi, sa.group, sa.transform);
            continue;
        };
        let key = |digits: &str| if digits.is_empty() { String::new() } else { format!("0x{digits}") };
        for family in ["IPv4", "IPv6"] {
            let spi = sa.spi.to_string();
            let (key, integrity_key) = (key(&sa.key), key(&sa.integrity_key));
            let fields = [family, "*", "*", &spi, cipher, &key, integrity, &integrity_key];
            let _ = writeln!(table, "{}", fields.map(|field| format!("\"{field}\"")).join(","));
        }
    }
    table
}

/// The SPIs of those that Wireshark cannot open, with their transforms.
#[must_use]
pub fn unknown_to_wireshark(sas: &[ExportedSa]) -> Vec<String> {
    let unknown = sas.iter().filter(|sa| names(&sa.transform).is_none());
    unknown.map(|sa| format!("{} ({})", sa.spi, sa.transform)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spi;

    fn sa(transform: &str, key: &str, integrity_key: &str) -> ExportedSa {
        ExportedSa {
            spi: Spi(0x0001_0001),
            group: "finance".into(),
            transform: transform.into(),
            key: key.into(),
            integrity_key: integrity_key.into(),
        }
    }

    #[test]
    fn a_line_for_each_family_with_the_names_of_wireshark() {
        let sas =
            [sa("aes-128-gcm", "0a0b", ""), sa("null-hmac-sha1", "", "0c"), sa("aes-128-gmac", "0d", "")];
        let table = esp_sa(&sas);
        let lines: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).collect();
        let gcm =
            "\"*\",\"*\",\"0x00010001\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x0a0b\",\"NULL\",\"\"";
        assert_eq!(lines[..2], [format!("\"IPv4\",{gcm}"), format!("\"IPv6\",{gcm}")]);
        assert!(lines[2].ends_with("\"NULL\",\"\",\"HMAC-SHA-1-96 [RFC2404]\",\"0x0c\""), "{}", lines[2]);
        assert_eq!(lines.len(), 4);
        assert!(
            table.contains("# 0x00010001 of group finance: Wireshark cannot open aes-128-gmac\n"),
            "{table}"
        );
        assert!(!table.contains("0x0d"), "a key that is of no use is not written");
        assert_eq!(unknown_to_wireshark(&sas), ["0x00010001 (aes-128-gmac)"]);
    }

    #[test]
    fn keys_are_not_formatted() {
        assert_eq!(format!("{:?}", sa("aes-128-gcm", "0a0b", "0c")), "ExportedSa(0x00010001, aes-128-gcm)");
    }
}
