//! Which members are in step, by where they are, so that one that is not finds one that can tell it
//! without looking at them all.

use crate::network::{Node, Place};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(crate) struct InStep {
    members: BTreeSet<(Place, usize)>,
    places: BTreeMap<usize, Place>,
}

impl InStep {
    /// A member is in step at this place, or it is not.
    fn set(&mut self, number: usize, place: Option<Place>) {
        let before = match place {
            Some(place) => self.places.insert(number, place),
            None => self.places.remove(&number),
        };
        if before == place {
            return;
        }
        if let Some(before) = before {
            self.members.remove(&(before, number));
        }
        if let Some(place) = place {
            self.members.insert((place, number));
        }
    }

    /// The first at a place from this number on, in a circle.
    pub(crate) fn from(&self, place: Place, number: usize) -> Option<usize> {
        let behind = self.members.range((place, number)..=(place, usize::MAX));
        let before = self.members.range((place, 0)..(place, number));
        behind.chain(before).next().map(|&(_, number)| number)
    }
}

impl World {
    fn place_in_step(&self, number: usize) -> Option<Place> {
        let member = &self.members[number];
        let in_step = member.out_of_step.is_none() && member.removed.is_none() && member.control.is_some();
        in_step.then(|| self.network.place(Node::Member(number)))
    }

    /// Whether a member is in step, or where it is, may have changed.
    pub(crate) fn moved(&mut self, number: usize) {
        let place = self.place_in_step(number);
        self.in_step.set(number, place);
    }

    /// The same of all.
    pub(crate) fn all_moved(&mut self) {
        (0..self.members.len()).for_each(|number| self.moved(number));
    }

    /// That nobody forgot to say so.
    pub(crate) fn check_index(&self) -> Result<(), String> {
        let right = |number| self.in_step.places.get(&number).copied() == self.place_in_step(number);
        match (0..self.members.len()).find(|&number| !right(number)) {
            Some(number) => Err(format!("member {number} is not where it is looked for")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_in_step_at_a_place_is_found_in_a_circle() {
        let mut in_step = InStep::default();
        let here = Place::default();
        assert_eq!(in_step.from(here, 0), None);
        in_step.set(3, Some(here));
        in_step.set(7, Some(here));
        assert_eq!([0, 3, 4, 8].map(|first| in_step.from(here, first)), [3, 3, 7, 3].map(Some));
        in_step.set(3, None);
        assert_eq!(in_step.from(here, 0), Some(7));
        in_step.set(7, None);
        assert_eq!(in_step.from(here, 0), None);
    }
}
