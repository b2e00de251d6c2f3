//! Names of actions that exist, by the engine's classes: rows and witnesses are told in them.

use super::question::Made;
use crate::catalog;
use crate::symbolic::{ActionClasses, Cell, Cells};
use std::collections::BTreeMap;

pub(super) struct Names {
    class_of: BTreeMap<&'static str, usize>,
    /// By class.
    names: Vec<Vec<&'static str>>,
}

impl Names {
    /// All that is asked for.
    pub(super) fn of(made: &Made<'_>, cells: &Cells) -> Names {
        let classes: BTreeMap<&[u64], usize> =
            cells.actions.iter().enumerate().map(|(at, (mask, _))| (mask.as_slice(), at)).collect();
        let mut out = Names { class_of: BTreeMap::new(), names: vec![Vec::new(); cells.actions.len()] };
        let known = made.actions.iter().flat_map(|a| catalog::matching(a)).map(catalog::Action::full_name);
        ActionClasses::of(&made.rows()).classes(known, |name, class| {
            let Some(class) = classes.get(class) else { return };
            out.names.get_mut(*class).into_iter().for_each(|n| n.push(name));
            out.class_of.insert(name, *class);
        });
        out
    }

    pub(super) fn class(&self, name: &str) -> Option<usize> {
        self.class_of.get(name).copied()
    }

    /// An action of a cell's class that exists, where there is one: rather of the service that the resource is of.
    pub(super) fn spoken(&self, cell: &Cell) -> Option<String> {
        let names = self.names.get(cell.action)?;
        let service = cell.request.resource.split(':').nth(2).unwrap_or_default();
        let is_of = |name: &&&str| name.split(':').next() == Some(service);
        names.iter().find(is_of).or(names.first()).map(|name| (*name).to_owned())
    }
}
