//! For tests: the keys that a key server's store holds, a line each, so that they can be looked for where none may
//! be. `keys-of-store DIRECTORY`, while no key server uses it. Not installed with the programs.

use getvpn_ks::core::record::{Key, Record};
use getvpn_ks::store::{FileStore, Store};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args_os().nth(1).ok_or("keys-of-store DIRECTORY")?;
    let mut store = FileStore::open(Path::new(&directory))?;
    for (key, record) in store.load()? {
        match (key, record) {
            (Key::Tek(_, spi), Record::Tek(tek)) => {
                let tek = tek.restore(spi)?;
                println!("tek {}", hex(tek.keys.cipher.as_slice()));
                println!("tek {}", hex(tek.keys.integrity.as_slice()));
            }
            (Key::Kek(_, spi), Record::Kek(kek)) => {
                let entry = kek.restore(spi)?;
                println!("kek {}", hex(entry.kek.keys.cipher.as_slice()));
                println!("signing {}", hex(entry.kek.signing.pkcs8().as_slice()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
