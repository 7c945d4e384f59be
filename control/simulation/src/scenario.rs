//! What a run is made of: what was asked for, and what the seed makes of the rest.

use crate::dice::Dice;
use getvpn_gdoi::crypto::KeyKind;
use getvpn_gdoi::group::{
    AckRequest, Direction, EspTransform, GroupAssociatedPolicy, GroupId, KekCipher, KekSignature, Mode,
    Selector,
};
use getvpn_gdoi::ike::DpdTiming;
use getvpn_gdoi::member::recovery::RecoveryConfig;
use getvpn_gdoi::member::registration::RegistrationConfig;
use getvpn_gdoi::wire::Compat;
use getvpn_ks::core::{GroupSettings, KekSettings, RekeySettings, TekSettings, TekShape, Timing, Transport};
use ipnet::{IpNet, Ipv4Net};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where the key server is.
pub(crate) const KEY_SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 848);

/// Where multicast rekeys go.
pub(crate) const MULTICAST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(239, 10, 1, 1)), 848);

/// The group.
pub(crate) const GROUP: GroupId = GroupId(1234);

/// What can be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What all chance follows from.
    pub seed: u64,
    /// How many members there are.
    pub members: usize,
    /// How many days are simulated.
    pub days: f64,
    /// The share of datagrams that is lost, from 0 to 0.3; drawn from the seed where it is `None`.
    pub loss: Option<f64>,
    /// Whether what happens is printed.
    pub trace: bool,
}

impl Options {
    /// So many members for so many days, the rest as the seed says.
    #[must_use]
    pub fn new(seed: u64, members: usize, days: f64) -> Self {
        Self { seed, members, days, loss: None, trace: false }
    }

    /// How long the run is.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs(86_400).mul_f64(self.days)
    }
}

/// What the network does to a datagram.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub loss: f64,
    pub duplicate: f64,
    pub delay: Duration,
    /// Beyond the delay; more than the distance between two datagrams changes their order.
    pub jitter: Duration,
    /// A few take much longer.
    pub straggler: f64,
    /// Copies of datagrams that had arrived come again much later.
    pub replay: f64,
}

/// The longest that a datagram is under way, but for replays.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// What the seed has made.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub group: GroupSettings,
    pub weather: Weather,
    pub dpd: DpdTiming,
    pub phase1_lifetime: Duration,
    pub registration: RegistrationConfig,
    pub recovery: RecoveryConfig,
    /// Between faults, on average.
    pub faults: Duration,
    /// Between packets of one member, on average.
    pub traffic: Duration,
}

impl Scenario {
    pub(crate) fn of(options: &Options, dice: &mut Dice) -> Self {
        let hours = |n: u64| Duration::from_secs(3600 * n);
        let seconds = Duration::from_secs;
        let short = options.days <= 4.0;
        let transport = if dice.chance(0.25) { Transport::Multicast(MULTICAST) } else { Transport::Unicast };
        let rekey = RekeySettings {
            transport,
            source: KEY_SERVER,
            retransmits: dice.pick(&[1, 2, 2, 3]),
            interval: dice.pick(&[seconds(2), seconds(5), seconds(10)]),
            acknowledge: if dice.chance(0.85) { Some(AckRequest::KekSha256) } else { None },
            rate: 2_000,
        };
        let activation_delay = dice.pick(&[seconds(2), seconds(15), seconds(30)]);
        let teks = (0..dice.pick(&[1_u8, 1, 2])).map(|n| tek(n, short, dice)).collect();
        let kek_lifetime = hours(dice.pick(if short { &[2, 8, 24] } else { &[24, 72] }));
        let sid_bits = if options.members <= 24 { dice.pick(&[8, 12, 16]) } else { 16 };
        let loss = options.loss.unwrap_or_else(|| dice.pick(&[0.0, 0.01, 0.05, 0.1, 0.2, 0.3]));
        let group = GroupSettings {
            id: GROUP,
            name: "simulated".to_owned(),
            sid_bits,
            gap: GroupAssociatedPolicy { activation_delay, deactivation_delay: activation_delay * 2 },
            kek: KekSettings {
                cipher: dice.pick(&[KekCipher::Aes128Cbc, KekCipher::Aes256Cbc]),
                signature: KekSignature::EcdsaP256,
                key: KeyKind::EcdsaP256,
                lifetime: kek_lifetime,
            },
            rekey,
            teks,
            compat: Compat::Standard,
        };
        let weather = Weather {
            loss,
            duplicate: dice.pick(&[0.0, 0.02, 0.1]),
            delay: dice.spread(Duration::from_micros(200), Duration::from_millis(150)),
            jitter: dice.spread(Duration::from_micros(100), Duration::from_millis(300)),
            straggler: dice.pick(&[0.0, 0.001, 0.01]),
            replay: dice.pick(&[0.0, 0.001, 0.01]),
        };
        let idle = if short { seconds(60) } else { dice.pick(&[seconds(600), seconds(1800)]) };
        Self {
            group,
            weather,
            dpd: DpdTiming { idle, ..DpdTiming::default() },
            phase1_lifetime: dice.pick(&[hours(2), hours(24), hours(24)]),
            registration: RegistrationConfig::default(),
            recovery: RecoveryConfig::default(),
            faults: if short {
                dice.spread(seconds(600), hours(2))
            } else {
                dice.spread(hours(1), hours(12))
            },
            traffic: if short { seconds(60) } else { seconds(600) },
        }
    }

    /// How long after everything works again, loss aside, a member has what the key server has:
    ///
    /// ```text
    /// reach + interval     until the last copy of a rekey, or until a key server that starts has sent one
    /// + ATD + probe        until others send with the new SA, and a packet of theirs arrives
    /// + ladder             three INVALID-SPI, 200, 400 and 800 ms apart, and one minute where it is
    ///                      remembered that the key server did not know the SPI
    /// + n x (20 s + 75 s)  registrations, each with its time-out and the longest pause behind it
    /// ```
    ///
    /// A registration is five round trips, and each of them is tried four times within its time-out, so one
    /// fails with probability `q = 1 - (1 - f^4)^5`, where `f = 1 - (1 - loss)^2`. `n` is such that all of
    /// them fail with a probability below one in a thousand million.
    pub(crate) fn convergence_bound(&self, members: usize) -> Duration {
        let round_trip = 1.0 - (1.0 - self.weather.loss).powi(2);
        let fails = 1.0 - (1.0 - round_trip.powi(4)).powi(5);
        let mut registrations = 1;
        let mut all_fail = fails;
        while all_fail > 1e-9 {
            registrations += 1;
            all_fail *= fails;
        }
        let timing = Timing::new(&self.group, members);
        let pause = self.registration.last_pause * 5 / 4;
        timing.reach
            + self.group.rekey.interval
            + timing.registering_again()
            + self.group.gap.activation_delay
            + PROBE * 2
            + Duration::from_secs(2)
            + self.recovery.unknown_for
            + LONGEST_DELAY
            + (self.registration.timeout + pause) * registrations
    }
}

/// While a member is out of step, packets come for it about so often.
pub(crate) const PROBE: Duration = Duration::from_secs(2);

/// One more kind of SA.
pub(crate) fn tek(number: u8, short: bool, dice: &mut Dice) -> TekSettings {
    let net = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(172, 16 + number, 0, 0), 16));
    let selector = Selector { src: net, dst: net, protocol: None, src_port: None, dst_port: None };
    let transforms = [
        EspTransform::Aes128Gcm,
        EspTransform::Aes256Gcm,
        EspTransform::ChaCha20Poly1305,
        EspTransform::Aes128CbcHmacSha256,
    ];
    let hours: &[u64] = if short { &[1, 2, 8] } else { &[2, 4, 8, 24] };
    TekSettings {
        shape: TekShape {
            transform: dice.pick(&transforms),
            mode: Mode::Tunnel,
            direction: Direction::Symmetric,
            selectors: vec![selector],
        },
        lifetime: Duration::from_secs(3600 * dice.pick(hours)),
    }
}
