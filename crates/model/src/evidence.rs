use crate::Evidence;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::{Deref, DerefMut};

/// The evidence of an occurrence, read as a slice. Most occurrences rest on one event, and one needs no allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct EvidenceList(List);

/// One is never written as many, so that equal lists are equal.
#[derive(Clone, PartialEq, Eq)]
enum List {
    One(Evidence),
    Many(Vec<Evidence>),
}

impl Default for EvidenceList {
    fn default() -> EvidenceList {
        EvidenceList(List::Many(Vec::new()))
    }
}

impl From<Evidence> for EvidenceList {
    fn from(one: Evidence) -> EvidenceList {
        EvidenceList(List::One(one))
    }
}

impl From<Vec<Evidence>> for EvidenceList {
    fn from(many: Vec<Evidence>) -> EvidenceList {
        match <[Evidence; 1]>::try_from(many) {
            Ok([one]) => EvidenceList(List::One(one)),
            Err(many) => EvidenceList(List::Many(many)),
        }
    }
}

impl FromIterator<Evidence> for EvidenceList {
    fn from_iter<I: IntoIterator<Item = Evidence>>(list: I) -> EvidenceList {
        list.into_iter().collect::<Vec<Evidence>>().into()
    }
}

impl Deref for EvidenceList {
    type Target = [Evidence];
    fn deref(&self) -> &[Evidence] {
        match &self.0 {
            List::One(one) => std::slice::from_ref(one),
            List::Many(many) => many,
        }
    }
}

impl DerefMut for EvidenceList {
    fn deref_mut(&mut self) -> &mut [Evidence] {
        match &mut self.0 {
            List::One(one) => std::slice::from_mut(one),
            List::Many(many) => many,
        }
    }
}

impl<'a> IntoIterator for &'a EvidenceList {
    type Item = &'a Evidence;
    type IntoIter = std::slice::Iter<'a, Evidence>;
    fn into_iter(self) -> std::slice::Iter<'a, Evidence> {
        self.iter()
    }
}

impl fmt::Debug for EvidenceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for EvidenceList {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for EvidenceList {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<EvidenceList, D::Error> {
        Vec::<Evidence>::deserialize(d).map(EvidenceList::from)
    }
}
