//! Outbound policy, and what must have been encrypted inbound: ordered 5-tuple rules, compiled into
//! DPDK's ACL. The control thread builds it; workers classify a burst at a time.

use std::net::IpAddr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk::BURST;
use dpdk::acl::{Acl4, Acl6, AclError, Key4, Key6, Rule4, Rule6};

use crate::packet::{Flow, Fragment, Headers};
use crate::plausibility::SpiTest;
use crate::sa::Sa;
use crate::selector::Selector;

/// What a group does with traffic that it has no SA for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutSa {
    /// Fail-close: nothing leaves in the clear.
    Drop,
    /// Fail-open.
    Bypass,
}

/// How strictly a group protects: the steps of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforce {
    /// Encrypts, and accepts only what is encrypted.
    Both,
    /// Encrypts, and accepts cleartext too.
    InboundOptional,
    /// Sends in the clear, accepts both.
    ReceiveOnly,
}

/// A group's protected traffic. It stays in force when the group's SAs are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, for people.
    pub name: String,
    /// Fail-close or fail-open.
    pub without_sa: WithoutSa,
    /// How strictly.
    pub enforce: Enforce,
    /// What it protects, in order.
    pub selectors: Vec<Selector>,
}

/// What a local rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalAction {
    /// Crosses unchanged, in both directions.
    Bypass,
    /// Is dropped, in both directions.
    Drop,
}

/// An exception of this member; local rules are looked at before the groups'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRule {
    /// Which packets.
    pub selector: Selector,
    /// What becomes of them.
    pub action: LocalAction,
}

/// An SA in use. A rekey lets a new one receive at once and send only after ATD.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The SA.
    pub sa: Arc<Sa>,
    /// Whether packets from the WAN may use it now.
    pub receives: bool,
    /// Whether packets to the WAN may use it now.
    pub sends: bool,
}

impl From<Arc<Sa>> for Installed {
    /// In use as far as its direction allows.
    fn from(sa: Arc<Sa>) -> Self {
        Installed { receives: sa.direction().receives(), sends: sa.direction().sends(), sa }
    }
}

/// Everything that the control thread decides: one publish makes all of it true at once.
#[derive(Clone, Debug, Default)]
pub struct PolicyState {
    /// This member's exceptions, in order.
    pub local: Vec<LocalRule>,
    /// The groups, in order.
    pub groups: Vec<Group>,
    /// The SAs, oldest first.
    pub sas: Vec<Installed>,
    /// Tells unknown SPIs that may become SAs from others.
    pub spi_test: SpiTest,
}

/// A packet to classify: its headers, and the frame that they were parsed from.
pub(crate) type Subject<'p> = (&'p Headers, &'p [u8]);

/// What policy says of a packet.
#[derive(Debug)]
pub(crate) enum Action {
    Bypass,
    Drop,
    Protect(Protect),
}

#[derive(Debug)]
pub(crate) struct Protect {
    pub(crate) enforce: Enforce,
    pub(crate) without_sa: WithoutSa,
    /// The newest active outbound SA of the group for this selector.
    pub(crate) sa: Option<Arc<Sa>>,
}

/// The rules and what they lead to at present.
#[derive(Debug)]
pub(crate) struct Policy {
    classifier: Arc<Classifier>,
    /// One for each rule of the classifier, behind [`Action::Bypass`] for "no rule".
    actions: Box<[Action]>,
    has_exemptions: bool,
}

impl Policy {
    /// Builds the policy; `previous`'s classifier is kept when the rules are the same.
    ///
    /// # Errors
    /// When DPDK cannot build the ACL.
    pub(crate) fn build(state: &PolicyState, previous: Option<&Policy>) -> Result<Policy, AclError> {
        let rules = rules(state);
        let classifier = match previous {
            Some(p) if p.classifier.rules == rules => Arc::clone(&p.classifier),
            _ => Arc::new(Classifier::build(rules)?),
        };
        let actions = std::iter::once(Action::Bypass)
            .chain(classifier.rules.iter().map(|rule| match rule.owner {
                Owner::Local(LocalAction::Bypass) => Action::Bypass,
                Owner::Local(LocalAction::Drop) => Action::Drop,
                Owner::Group(group) => Action::Protect(Protect {
                    enforce: state.groups[group].enforce,
                    without_sa: state.groups[group].without_sa,
                    sa: newest_sender(&state.sas, group, &rule.selector),
                }),
            }))
            .collect();
        let has_exemptions = state.local.iter().any(|rule| rule.action == LocalAction::Bypass);
        Ok(Policy { classifier, actions, has_exemptions })
    }

    /// Finds the rule of each packet, at most a burst of them; see [`Policy::action`].
    #[inline]
    pub(crate) fn classify<'p>(&self, packets: impl Iterator<Item = Subject<'p>>, rules: &mut [u32; BURST]) {
        self.classifier.classify(packets, rules);
    }

    /// What a rule found by [`Policy::classify`] leads to.
    #[inline]
    pub(crate) fn action(&self, rule: u32) -> &Action {
        self.actions.get(rule as usize).unwrap_or(&Action::Bypass)
    }

    /// Whether a local rule exempts anything at all.
    #[inline]
    pub(crate) fn has_exemptions(&self) -> bool {
        self.has_exemptions
    }

    /// Whether a rule found by [`Policy::classify`] is a local one that exempts the packet, as opposed to
    /// no rule being for it.
    pub(crate) fn exempts(&self, rule: u32) -> bool {
        rule != NO_RULE && matches!(self.action(rule), Action::Bypass)
    }

    /// What policy says of one packet.
    pub(crate) fn action_of(&self, packet: Subject<'_>) -> &Action {
        self.action(self.rule_of(packet))
    }

    /// Finds the rule of one packet.
    pub(crate) fn rule_of(&self, packet: Subject<'_>) -> u32 {
        let mut rules = [NO_RULE; BURST];
        self.classifier.classify(std::iter::once(packet), &mut rules);
        rules[0]
    }

    /// The selector of a rule found by [`Policy::rule_of`], and the group that it is of, if of any.
    pub(crate) fn rule(&self, rule: u32) -> Option<(Selector, Option<usize>)> {
        let rule = self.classifier.rules.get((rule as usize).checked_sub(1)?)?;
        let group = match rule.owner {
            Owner::Local(_) => None,
            Owner::Group(group) => Some(group),
        };
        Some((rule.selector, group))
    }
}

/// The classifier's word for "no rule matches".
const NO_RULE: u32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    selector: Selector,
    owner: Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Local(LocalAction),
    Group(usize),
}

fn rules(state: &PolicyState) -> Vec<Rule> {
    let local = state.local.iter().map(|r| Rule { selector: r.selector, owner: Owner::Local(r.action) });
    let groups = state.groups.iter().enumerate().flat_map(|(i, group)| {
        group.selectors.iter().map(move |&selector| Rule { selector, owner: Owner::Group(i) })
    });
    local.chain(groups).collect()
}

fn newest_sender(sas: &[Installed], group: usize, selector: &Selector) -> Option<Arc<Sa>> {
    sas.iter()
        .rev()
        .find(|i| i.sends && i.sa.group() == group && i.sa.selectors().contains(selector))
        .map(|i| Arc::clone(&i.sa))
}

/// The compiled rules. A rule's number is its place in `rules`, from 1.
#[derive(Debug)]
struct Classifier {
    rules: Vec<Rule>,
    whole: Tables,
    /// For later fragments, which carry no ports.
    later: Tables,
}

impl Classifier {
    fn build(rules: Vec<Rule>) -> Result<Classifier, AclError> {
        let numbered = || (1..).zip(&rules);
        let whole = Tables::build(numbered().map(|(n, r)| (n, r.selector)))?;
        // Without ports nobody can tell whether an exception that names ports is meant; what a group
        // may have to protect is protected.
        let later = Tables::build(numbered().filter_map(|(n, r)| match r.owner {
            Owner::Local(_) if r.selector.has_ports() => None,
            _ => Some((n, r.selector.without_ports())),
        }))?;
        Ok(Classifier { rules, whole, later })
    }

    #[inline]
    fn classify<'p>(&self, packets: impl Iterator<Item = Subject<'p>>, rules: &mut [u32; BURST]) {
        let mut v4 = Batch::<Key4>::default();
        let mut v6 = Batch::<Key6>::default();
        for (i, (headers, frame)) in packets.enumerate().take(BURST) {
            if headers.fragment == Fragment::Later {
                rules[i] = self.later.find(&headers.flow(frame));
                continue;
            }
            match headers.flow(frame) {
                Flow::V4(key) => v4.push(i, key),
                Flow::V6(key) => v6.push(i, key),
            }
        }
        if !v4.keys.is_empty() {
            let mut found = [NO_RULE; BURST];
            self.whole.v4.classify(&v4.keys, &mut found[..v4.keys.len()]);
            for (&place, &hit) in v4.places.iter().zip(&found) {
                rules[place] = self.whole.number4(hit);
            }
        }
        if !v6.keys.is_empty() {
            let mut found = [NO_RULE; BURST];
            self.whole.v6.classify(&v6.keys, &mut found[..v6.keys.len()]);
            for (&place, &hit) in v6.places.iter().zip(&found) {
                rules[place] = self.whole.number6(hit);
            }
        }
    }
}

/// The packets of one family in a burst, and where their answers go.
struct Batch<K> {
    keys: ArrayVec<K, BURST>,
    places: ArrayVec<usize, BURST>,
}

impl<K> Default for Batch<K> {
    fn default() -> Self {
        Batch { keys: ArrayVec::new(), places: ArrayVec::new() }
    }
}

impl<K> Batch<K> {
    #[inline]
    fn push(&mut self, place: usize, key: K) {
        self.keys.push(key);
        self.places.push(place);
    }
}

/// One ACL for each family, and the numbers of its rules.
#[derive(Debug)]
struct Tables {
    v4: Acl4,
    numbers4: Box<[u32]>,
    v6: Acl6,
    numbers6: Box<[u32]>,
}

impl Tables {
    fn build(rules: impl Iterator<Item = (u32, Selector)>) -> Result<Tables, AclError> {
        let (mut v4, mut numbers4, mut v6, mut numbers6) = (vec![], vec![NO_RULE], vec![], vec![NO_RULE]);
        for (number, s) in rules {
            let (protocol, src_port, dst_port) = (s.protocol, s.src_port, s.dst_port);
            match (s.src.address(), s.dst.address()) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    let (src, dst) = ((src.octets(), s.src.length()), (dst.octets(), s.dst.length()));
                    v4.push(Rule4 { protocol, src, dst, src_port, dst_port });
                    numbers4.push(number);
                }
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    let (src, dst) = ((src.octets(), s.src.length()), (dst.octets(), s.dst.length()));
                    v6.push(Rule6 { protocol, src, dst, src_port, dst_port });
                    numbers6.push(number);
                }
                // A selector of mixed families matches nothing; configuration refuses it.
                _ => {}
            }
        }
        Ok(Tables {
            v4: Acl4::build(&v4)?,
            numbers4: numbers4.into(),
            v6: Acl6::build(&v6)?,
            numbers6: numbers6.into(),
        })
    }

    fn find(&self, flow: &Flow) -> u32 {
        let mut found = [NO_RULE];
        match flow {
            Flow::V4(key) => {
                self.v4.classify(std::slice::from_ref(key), &mut found);
                self.number4(found[0])
            }
            Flow::V6(key) => {
                self.v6.classify(std::slice::from_ref(key), &mut found);
                self.number6(found[0])
            }
        }
    }

    #[inline]
    fn number4(&self, hit: u32) -> u32 {
        self.numbers4.get(hit as usize).copied().unwrap_or(NO_RULE)
    }

    #[inline]
    fn number6(&self, hit: u32) -> u32 {
        self.numbers6.get(hit as usize).copied().unwrap_or(NO_RULE)
    }
}
