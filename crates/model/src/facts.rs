use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Names and their values, in order of name; a map in everything but its memory: the names are shared by all that have the same
/// ones, the values of many lie in one block. An engine that explains half a million events a second cannot pay two allocations
/// per field. A clone has a block of its own, so that what is kept for long does not hold what came beside it.
#[derive(Default)]
pub struct Facts {
    names: Arc<[Arc<str>]>,
    /// From `start`: where each value ends (`u32`, little endian), then the values.
    block: Arc<[u8]>,
    start: usize,
}

/// Bytes of one entry of the list of ends.
const END_BYTES: usize = 4;

impl Facts {
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
    /// The value under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.names.binary_search_by(|n| (**n).cmp(name)).ok()?;
        self.value(at)
    }
    /// (name, value), in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().enumerate().map(|(i, n)| (&**n, self.value(i).unwrap_or_default()))
    }
    fn own(&self) -> &[u8] {
        self.block.get(self.start..).unwrap_or_default()
    }
    /// Where value `at` ends, counted from the end of the list of ends.
    fn end(&self, at: usize) -> Option<usize> {
        let bytes = self.own().get(at * END_BYTES..(at + 1) * END_BYTES)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    }
    fn value(&self, at: usize) -> Option<&str> {
        let text = self.own().get(self.len() * END_BYTES..)?;
        let start = at.checked_sub(1).map_or(Some(0), |before| self.end(before))?;
        std::str::from_utf8(text.get(start..self.end(at)?)?).ok()
    }
}

impl Clone for Facts {
    fn clone(&self) -> Facts {
        let text = self.len().checked_sub(1).and_then(|last| self.end(last)).unwrap_or(0);
        let own = self.own().get(..self.len() * END_BYTES + text).unwrap_or_default();
        Facts { names: Arc::clone(&self.names), block: own.into(), start: 0 }
    }
}

/// Puts [`Facts`] together value by value, those of many events into one block.
#[derive(Default)]
pub struct FactsBuilder {
    text: String,
    ends: Vec<u32>,
    block: Vec<u8>,
}

/// [`Facts`] whose block is not finished.
pub struct FactsDraft {
    names: Arc<[Arc<str>]>,
    start: usize,
}

impl FactsDraft {
    /// `block`: what [`FactsBuilder::block`] gave for the block in which this was drafted.
    #[must_use]
    pub fn within(self, block: &Arc<[u8]>) -> Facts {
        Facts { names: self.names, block: Arc::clone(block), start: self.start }
    }
}

impl FactsBuilder {
    /// Begins anew: forgets the values, not the block.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
    /// The text so far; what is appended belongs to the value that the next [`FactsBuilder::end`] closes.
    pub fn text(&mut self) -> &mut String {
        &mut self.text
    }
    /// Closes a value. Its name is the one of the same place in the list that comes with the draft.
    pub fn end(&mut self) {
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }
    /// Puts the values into the block. `names`: sorted, each once, one per value.
    #[must_use]
    pub fn draft(&mut self, names: &Arc<[Arc<str>]>) -> FactsDraft {
        debug_assert!(names.is_sorted_by(|a, b| a < b) && names.len() == self.ends.len());
        let start = self.block.len();
        self.ends.iter().for_each(|e| self.block.extend_from_slice(&e.to_le_bytes()));
        self.block.extend_from_slice(self.text.as_bytes());
        FactsDraft { names: Arc::clone(names), start }
    }
    /// The values in a block of their own.
    #[must_use]
    pub fn alone(&self, names: &Arc<[Arc<str>]>) -> Facts {
        let mut own = FactsBuilder { text: self.text.clone(), ends: self.ends.clone(), block: Vec::new() };
        own.draft(names).within(&own.block())
    }
    /// Ends the block; the next draft begins another one.
    #[must_use]
    pub fn block(&mut self) -> Arc<[u8]> {
        let block = self.block.as_slice().into();
        self.block.clear();
        block
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
        builder.draft(&names.into()).within(&builder.block())
    }
}

impl PartialEq for Facts {
    fn eq(&self, other: &Facts) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
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

    #[test]
    fn many_in_one_block() {
        let mut b = FactsBuilder::default();
        let mut draft = |names: &[&str], values: &[&str]| {
            b.clear();
            for v in values {
                b.text().push_str(v);
                b.end();
            }
            b.draft(&names.iter().map(|n| Arc::from(*n)).collect())
        };
        let drafts = [draft(&["a", "b"], &["one", ""]), draft(&[], &[]), draft(&["c"], &["two"])];
        let block = b.block();
        let [x, none, y] = drafts.map(|d| d.within(&block));
        assert_eq!(format!("{x:?} {none:?} {y:?}"), r#"{"a": "one", "b": ""} {} {"c": "two"}"#);
        assert_eq!(y.clone(), y);
        assert_eq!(y.clone().block.len(), END_BYTES + 3, "a clone keeps nothing of the others");
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
            prop_assert_eq!(&x.clone(), &x);
            prop_assert_eq!(format!("{x:?}"), format!("{a:?}"));
            let json = serde_json::to_string(&x).unwrap();
            prop_assert_eq!(&json, &serde_json::to_string(&a).unwrap());
            prop_assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), x);
        }
    }
}
