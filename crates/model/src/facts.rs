use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Names and their values, in order of name; a map in everything but its memory: the names are shared by all that have the same
/// ones, the values are one text. An engine that explains half a million events a second cannot pay two allocations per field.
#[derive(Clone, Default)]
pub struct Facts {
    names: Arc<[Arc<str>]>,
    text: Box<str>,
    /// Where each value ends in `text`, one per name.
    ends: Box<[u32]>,
}

impl Facts {
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// The value under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.names.binary_search_by(|n| (**n).cmp(name)).ok()?;
        self.value(at)
    }
    fn value(&self, at: usize) -> Option<&str> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start as usize..*self.ends.get(at)? as usize)
    }
    /// (name, value), in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().enumerate().map(|(i, n)| (&**n, self.value(i).unwrap_or_default()))
    }
}

/// Puts [`Facts`] together value by value. Reused from event to event, it allocates nothing itself.
#[derive(Default)]
pub struct FactsBuilder {
    text: String,
    ends: Vec<u32>,
}

impl FactsBuilder {
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
    /// The text so far; what is appended belongs to the value that the next [`FactsBuilder::end`] closes.
    pub fn text(&mut self) -> &mut String {
        &mut self.text
    }
    /// Closes a value. Its name is the one of the same place in the list that [`FactsBuilder::finish`] gets.
    pub fn end(&mut self) {
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }
    /// `names`: sorted, each once, one per value.
    #[must_use]
    pub fn finish(&self, names: &Arc<[Arc<str>]>) -> Facts {
        debug_assert!(names.is_sorted_by(|a, b| a < b) && names.len() == self.ends.len());
        Facts {
            names: Arc::clone(names),
            text: self.text.as_str().into(),
            ends: self.ends.as_slice().into(),
        }
    }
}

impl<N: Into<Arc<str>> + Ord, V: AsRef<str>> FromIterator<(N, V)> for Facts {
    /// Of equal names the last one wins.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Facts {
        let sorted: BTreeMap<N, V> = pairs.into_iter().collect();
        let mut builder = FactsBuilder::default();
        let mut names: Vec<Arc<str>> = Vec::with_capacity(sorted.len());
        for (name, value) in sorted {
            builder.text().push_str(value.as_ref());
            builder.end();
            names.push(name.into());
        }
        builder.finish(&names.into())
    }
}

impl PartialEq for Facts {
    fn eq(&self, other: &Facts) -> bool {
        self.text == other.text && self.ends == other.ends && self.names == other.names
    }
}

impl Eq for Facts {}

impl Ord for Facts {
    fn cmp(&self, other: &Facts) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Facts {
    fn partial_cmp(&self, other: &Facts) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Facts, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Facts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Facts, A::Error> {
                let mut pairs: Vec<(String, String)> = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs.into_iter().collect())
            }
        }
        d.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
        proptest::collection::btree_map("[a-c.é]{0,3}", "\\PC{0,4}", 0..5)
    }

    proptest! {
        #[test]
        fn they_are_maps(a in pairs(), b in pairs(), name in "[a-c.é]{0,3}") {
            let x: Facts = a.clone().into_iter().collect();
            let y: Facts = b.clone().into_iter().collect();
            prop_assert_eq!(x.get(&name), a.get(&name).map(String::as_str));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x == y, a == b);
            prop_assert_eq!(x.len(), a.len());
            prop_assert_eq!(format!("{x:?}"), format!("{a:?}"));
            let json = serde_json::to_string(&x).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&a).unwrap());
            prop_assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), x);
        }
    }
}
