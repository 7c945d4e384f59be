//! What registrations cost the key server on one core, phase 1 and GROUPKEY-PULL, beside the public-key
//! operations that one needs, alone: the same calls with the same key sizes.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use getvpn_gdoi::crypto::{DhGroup, HashAlgorithm, KeyKind, SignatureScheme, SigningKey, SystemRandom};
use getvpn_ks::store::{FileStore, MemoryStore, Store};
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

use super::{Rig, Section};
use getvpn_perf_control::fleet::{AT_ONCE, Fleet, take};
use getvpn_perf_control::site::{Auth, Rekeys, Site, clocks};
use getvpn_perf_control::spent::{Spent, timed};

pub const NAME: &str = "registration";

/// How much of a registration is to be public-key cryptography, in percent.
const SHARE: f64 = 60.0;

/// The messages of a registration that a member sends.
const MESSAGES: [&str; 5] = ["message 1", "message 3", "message 5", "pull 1", "pull 3"];

/// Members of one run.
const MEMBERS: usize = 512;

pub struct Registration {
    sites: Vec<(Auth, Site)>,
}

#[derive(Clone, Copy)]
enum Kept {
    Memory,
    File,
}

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Kept::Memory => "in memory",
            Kept::File => "in a file",
        }
    }
}

impl Registration {
    pub fn new(rig: &Rig) -> Result<Registration> {
        let members = if rig.quick { AT_ONCE } else { MEMBERS };
        let site = |auth| Ok((auth, Site::virtual_one(auth, members, Rekeys::Unicast(2_000))?));
        let sites = [Auth::Psk, Auth::Certificate].into_iter().map(site).collect::<Result<_>>()?;
        Ok(Registration { sites })
    }
}

impl Section for Registration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &Rig, figures: &mut Figures) -> Result<()> {
        for (auth, site) in &self.sites {
            for kept in [Kept::Memory, Kept::File] {
                // The file is opened in a directory of its own, and gone after the run.
                let directory = tempfile::tempdir_in(&rig.out)?;
                let store: Box<dyn Store> = match kept {
                    Kept::Memory => Box::new(MemoryStore::default()),
                    Kept::File => Box::new(FileStore::open(&directory.path().join("store"))?),
                };
                register(figures, site, &case(*auth, kept), store, bare(*auth)?)?;
            }
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let cases = self.sites.iter().flat_map(|(auth, _)| [(*auth, Kept::Memory), (*auth, Kept::File)]);
        cases.map(|(auth, kept)| row(figures, auth, kept)).collect()
    }
}

fn row(figures: &Figures, auth: Auth, kept: Kept) -> Row {
    let case = case(auth, kept);
    let [cpu, wall, bare] = ["cpu", "wall", "bare"].map(|figure| figures.median(NAME, &case, figure));
    let share = 100.0 * figures.ratio(NAME, &case, "bare", "cpu");
    let waited = match kept {
        Kept::Memory => String::new(),
        Kept::File => format!(", {} with waiting for the disk", shown(1e6 / wall, 0, "a second")),
    };
    let proof = match auth {
        Auth::Psk => "pre-shared key",
        Auth::Certificate => "ECDSA P-256 certificates",
    };
    Row {
        what: format!("registration, group 19, {proof}, store {}", kept.name()),
        ours: format!("{}: {} on a core{waited}", shown(cpu, 1, "us"), shown(1e6 / cpu, 0, "a second")),
        reference: format!("{} bare public-key cryptography", shown(bare, 1, "us")),
        against: shown(share, 0, "% of it"),
        budget: format!("at least {SHARE} %"),
        verdict: Verdict::at_least(share, SHARE, " %"),
    }
}

fn case(auth: Auth, kept: Kept) -> String {
    format!("{} {}", auth.name(), kept.name())
}

/// Registers all members of a site with a new key server. After every round of messages the bare operations
/// are done for a part of the members, so that both meet the machine in the same state.
fn register(
    figures: &mut Figures,
    site: &Site,
    case: &str,
    store: Box<dyn Store>,
    mut bare: impl FnMut(),
) -> Result<()> {
    let now = Instant::now();
    let mut key_server = site.key_server(store, clocks(now))?;
    let mut fleet = Fleet::new(site, now)?;
    let mut messages = [Spent::default(); MESSAGES.len()];
    let (mut all, mut alone, mut done) = (Spent::default(), Spent::default(), 0);
    fleet.register(site, |message, sent, now| {
        let mut spent = Spent::default();
        let replies = timed(&mut spent, || take(&mut key_server, site, &sent, now));
        all += spent;
        messages[message.min(MESSAGES.len() - 1)] += spent;
        let part = sent.len() / MESSAGES.len();
        timed(&mut alone, || (0..part).for_each(|_| bare()));
        done += part;
        replies
    })?;
    let members = site.size();
    figures.add(NAME, case, "cpu", "us", all.cpu_us(members));
    figures.add(NAME, case, "wall", "us", all.wall_us(members));
    figures.add(NAME, case, "bare", "us", alone.cpu_us(done));
    for (name, spent) in MESSAGES.into_iter().zip(messages) {
        figures.add(NAME, case, name, "us", spent.cpu_us(members));
    }
    Ok(())
}

/// The public-key operations of one registration at the key server: an ephemeral key and the agreement;
/// with certificates also its own signature, the member's, and the one of the member's certificate.
fn bare(auth: Auth) -> Result<impl FnMut()> {
    let peer = DhGroup::Ecp256.generate(&mut SystemRandom);
    let own = SigningKey::generate(KeyKind::EcdsaP256, &mut SystemRandom)?;
    let hash = HashAlgorithm::Sha256.digest(&[b"what is signed"]);
    let proof = own.sign(SignatureScheme::EcdsaP256Digest, &hash, &mut SystemRandom)?;
    let certificate = vec![0x30; 400];
    let issued = own.sign(SignatureScheme::EcdsaP256Sha256, &certificate, &mut SystemRandom)?;
    Ok(move || {
        let ephemeral = DhGroup::Ecp256.generate(&mut SystemRandom);
        black_box(ephemeral.agree(peer.public()).is_ok());
        if auth == Auth::Certificate {
            let key = own.verifying_key();
            black_box(key.verify(SignatureScheme::EcdsaP256Digest, &hash, &proof).is_ok());
            black_box(key.verify(SignatureScheme::EcdsaP256Sha256, &certificate, &issued).is_ok());
            black_box(own.sign(SignatureScheme::EcdsaP256Digest, &hash, &mut SystemRandom).is_ok());
        }
    })
}
