//! Columns derived from raw, as plain vectors: `shape` fills them, `vault` writes them, `detect` reads them. No arrow (N2).

use crate::Time;
use serde::{Deserialize, Serialize};

/// Type of a derived column. A column never changes its type; a new meaning gets a new name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    Text,
    TextList,
    Int,
    Bool,
    Time,
}

/// Name and type of a derived column. Names beginning with `av_` are reserved for the envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ColumnSpec {
    pub name: &'static str,
    pub kind: ColumnKind,
}

/// Nullable text values: one buffer, end offsets, and a null mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextColumn {
    pub bytes: String,
    /// End of each value in `bytes`; a null repeats the previous end.
    pub ends: Vec<u32>,
    pub valid: Vec<bool>,
}

impl TextColumn {
    /// Adds a value; one that would carry the buffer past 4 GiB becomes null.
    #[inline]
    pub fn push(&mut self, value: Option<&str>) {
        let before = self.bytes.len();
        if let Some(v) = value {
            self.bytes.push_str(v);
        }
        if let Ok(end) = u32::try_from(self.bytes.len()) {
            self.ends.push(end);
            self.valid.push(value.is_some());
        } else {
            self.bytes.truncate(before);
            self.ends.push(u32::try_from(before).unwrap_or(u32::MAX));
            self.valid.push(false);
        }
    }
    #[inline]
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        if !*self.valid.get(row)? {
            return None;
        }
        let start = match row.checked_sub(1) {
            Some(r) => *self.ends.get(r)? as usize,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(row)? as usize)
    }
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Nullable lists of text: items in one [`TextColumn`], end index per row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextListColumn {
    pub items: TextColumn,
    pub ends: Vec<u32>,
    pub valid: Vec<bool>,
}

impl TextListColumn {
    pub fn push<'a>(&mut self, values: Option<impl IntoIterator<Item = &'a str>>) {
        self.valid.push(values.is_some());
        for v in values.into_iter().flatten() {
            self.items.push(Some(v));
        }
        self.ends.push(u32::try_from(self.items.len()).unwrap_or(u32::MAX));
    }
    #[inline]
    #[must_use]
    pub fn get(&self, row: usize) -> Option<Vec<&str>> {
        if !*self.valid.get(row)? {
            return None;
        }
        let start = match row.checked_sub(1) {
            Some(r) => *self.ends.get(r)? as usize,
            None => 0,
        };
        Some((start..*self.ends.get(row)? as usize).filter_map(|i| self.items.get(i)).collect())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    Text(TextColumn),
    TextList(TextListColumn),
    Int(Vec<Option<i64>>),
    Bool(Vec<Option<bool>>),
    /// [`Time::NONE`] is null.
    Time(Vec<Time>),
}

impl Column {
    #[must_use]
    pub fn new(kind: ColumnKind) -> Column {
        match kind {
            ColumnKind::Text => Column::Text(TextColumn::default()),
            ColumnKind::TextList => Column::TextList(TextListColumn::default()),
            ColumnKind::Int => Column::Int(Vec::new()),
            ColumnKind::Bool => Column::Bool(Vec::new()),
            ColumnKind::Time => Column::Time(Vec::new()),
        }
    }
    #[must_use]
    pub fn kind(&self) -> ColumnKind {
        match self {
            Column::Text(_) => ColumnKind::Text,
            Column::TextList(_) => ColumnKind::TextList,
            Column::Int(_) => ColumnKind::Int,
            Column::Bool(_) => ColumnKind::Bool,
            Column::Time(_) => ColumnKind::Time,
        }
    }
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Column::Text(c) => c.len(),
            Column::TextList(c) => c.ends.len(),
            Column::Int(c) => c.len(),
            Column::Bool(c) => c.len(),
            Column::Time(c) => c.len(),
        }
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    #[inline]
    pub fn push_null(&mut self) {
        match self {
            Column::Text(c) => c.push(None),
            Column::TextList(c) => c.push(None::<[&str; 0]>),
            Column::Int(c) => c.push(None),
            Column::Bool(c) => c.push(None),
            Column::Time(c) => c.push(Time::NONE),
        }
    }
    /// The value as text for display and for text predicates; lists joined by a comma.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<String> {
        match self {
            Column::Text(c) => c.get(row).map(str::to_owned),
            Column::TextList(c) => c.get(row).map(|v| v.join(",")),
            Column::Int(c) => c.get(row).copied().flatten().map(|v| v.to_string()),
            Column::Bool(c) => c.get(row).copied().flatten().map(|v| v.to_string()),
            Column::Time(c) => c.get(row).copied().and_then(Time::known).map(|t| t.to_string()),
        }
    }
}

/// Derived columns of one dataset for the rows of one batch, `specs` and `data` in the same order.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    pub specs: Vec<ColumnSpec>,
    pub data: Vec<Column>,
    pub rows: usize,
}

impl Columns {
    #[must_use]
    pub fn new(specs: &[ColumnSpec]) -> Columns {
        Columns { specs: specs.to_vec(), data: specs.iter().map(|s| Column::new(s.kind)).collect(), rows: 0 }
    }
    #[inline]
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Column> {
        let i = self.specs.iter().position(|s| s.name == name)?;
        self.data.get(i)
    }
    #[must_use]
    pub fn text(&self, name: &str, row: usize) -> Option<&str> {
        match self.get(name)? {
            Column::Text(c) => c.get(row),
            _ => None,
        }
    }
    /// Ends a row: columns that got no value in it become null. A column that got two keeps the excess out of later rows by
    /// being an error of the caller that the debug build shows.
    #[inline]
    pub fn end_row(&mut self) {
        self.rows += 1;
        for c in &mut self.data {
            debug_assert!(c.len() <= self.rows, "two values for one row");
            while c.len() < self.rows {
                c.push_null();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_differ() {
        let mut c = TextColumn::default();
        c.push(Some("a"));
        c.push(None);
        c.push(Some(""));
        c.push(Some("bc"));
        assert_eq!(
            (c.get(0), c.get(1), c.get(2), c.get(3), c.get(4)),
            (Some("a"), None, Some(""), Some("bc"), None)
        );
    }

    #[test]
    fn a_row_without_a_value_is_null() {
        const SPECS: [ColumnSpec; 2] = [
            ColumnSpec { name: "actor", kind: ColumnKind::Text },
            ColumnSpec { name: "resources", kind: ColumnKind::TextList },
        ];
        let mut c = Columns::new(&SPECS);
        if let Some(Column::TextList(l)) = c.data.get_mut(1) {
            l.push(Some(["x", "y"]));
        }
        c.end_row();
        c.end_row();
        assert_eq!(c.text("actor", 0), None);
        assert_eq!(c.get("resources").unwrap().text(0).unwrap(), "x,y");
        assert_eq!(c.get("resources").unwrap().text(1), None);
    }
}
