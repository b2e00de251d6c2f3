//! Documents as one caller sees them: statements that name it, without their principals, and with what is known of it filled in. What
//! remains depends on the request alone. It shares no matching with the evaluator.

use crate::holder::{Fact, Holder};
use crate::pattern::{Piece, pieces};
use crate::policy::{Document, Effect, PrincipalKind, Statement, Word};
use crate::target::Target;
use crate::world::World;

/// How a statement names the caller, from the weakest on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Hold {
    /// Its account, which leaves it to the account's own policies.
    Account,
    /// Its role.
    Role,
    /// Itself.
    Itself,
}

/// A caller: a holder, and its session where a document names one.
#[derive(Clone, Copy)]
pub(super) struct Caller<'c> {
    pub holder: &'c Holder,
    pub target: &'c Target,
    pub session: Option<&'c str>,
    pub world: &'c World<'c>,
}

/// Names of sessions of a role that a document names.
pub(super) fn named_sessions(holder: &Holder, target: &Target) -> Vec<String> {
    let mut out = Vec::new();
    if !holder.has_sessions() {
        return out;
    }
    let statements = target.parts.iter().chain(target.levels.iter().flat_map(|l| &l.parts));
    let statements = statements.flat_map(|p| &p.document.statements);
    for (_, word) in statements.filter_map(|s| s.principal.as_ref()).flat_map(|p| &p.values) {
        if let Some((account, role, name)) = session_in(&word.text)
            && account == holder.account
            && role == holder.name()
            && !name.contains(['*', '?'])
            && !out.iter().any(|o| o == name)
        {
            out.push(name.to_owned());
        }
    }
    out
}

/// Account, role and session in `arn:aws:sts::111122223333:assumed-role/Name/session`.
fn session_in(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.splitn(6, ':');
    let (_, _, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_, account, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (role, name) = rest.strip_prefix("assumed-role/")?.split_once('/')?;
    (service == "sts").then_some((account, role, name))
}

impl Caller<'_> {
    /// How a statement names the caller; `None`: it does not.
    pub(super) fn hold(&self, statement: &Statement) -> Option<Hold> {
        let Some(listed) = &statement.principal else { return Some(Hold::Itself) };
        let is_wide = statement.effect == Effect::Allow && !listed.negated;
        let best = listed.values.iter().filter_map(|(kind, w)| self.hold_of(*kind, &w.text, is_wide)).max();
        match (listed.negated, best) {
            (false, best) => best,
            (true, Some(_)) => None,
            (true, None) => Some(Hold::Itself),
        }
    }

    fn hold_of(&self, kind: PrincipalKind, text: &str, is_wide: bool) -> Option<Hold> {
        match kind {
            PrincipalKind::Everyone => return Some(Hold::Itself),
            PrincipalKind::Aws => {}
            // Whose it is, is not known: it may be that of the caller's account.
            PrincipalKind::CanonicalUser if is_wide => return Some(Hold::Account),
            PrincipalKind::CanonicalUser | PrincipalKind::Service | PrincipalKind::Federated => return None,
        }
        let holder = self.holder;
        if text == "*" {
            return Some(Hold::Itself);
        }
        let parts: Vec<&str> = text.split(':').collect();
        let account = match parts.as_slice() {
            [account] => Some(*account),
            [.., account, "root"] => Some(*account),
            _ => None,
        };
        if account == Some(holder.account.as_str()) {
            return Some(Hold::Account);
        }
        if text == holder.arn {
            return Some(if holder.has_sessions() { Hold::Role } else { Hold::Itself });
        }
        if let (Some((account, role, name)), Some(session)) = (session_in(text), self.session)
            && (account, role, name) == (holder.account.as_str(), holder.name(), session)
        {
            return Some(Hold::Itself);
        }
        // Wildcards are forbidden here; where they stand they may name whoever begins alike.
        let before = text.split(['*', '?']).next().unwrap_or_default();
        (is_wide && before.len() < text.len() && holder.arn.starts_with(before)).then_some(Hold::Itself)
    }

    /// What is known of a key in all requests of this caller for this target.
    pub(super) fn fact(&self, key: &str) -> Option<Fact> {
        let of_world = || {
            let value = match key {
                "aws:principalaccount" | "kms:calleraccount" => self.holder.account.clone(),
                "aws:principalarn" => self.holder.arn.clone(),
                "aws:principalorgid" => self.member()?.0,
                "aws:principalisawsservice" => "false".to_owned(),
                _ => return None,
            };
            Some(Fact::Is([value].into()))
        };
        self.target.fact(key).or_else(|| self.holder.fact(key, self.session)).or_else(of_world)
    }

    /// Organisation and path of the caller's account.
    pub(super) fn member(&self) -> Option<(String, String)> {
        let organization = self.world.organization?;
        let account = organization.accounts.iter().find(|a| a.id == self.holder.account)?;
        Some((organization.id.clone(), account.path.clone()))
    }

    /// A statement as this caller meets it; `None`: it never does.
    pub(super) fn resolved(&self, document: &Document, statement: &Statement) -> Option<(Hold, Statement)> {
        let hold = self.hold(statement)?;
        let mut out = Statement { principal: None, ..statement.clone() };
        if document.syntax(true).variables {
            let syntax = document.syntax(true);
            if let Some(resource) = &mut out.resource {
                self.fill(&mut resource.values, syntax);
            }
            for condition in out.conditions.iter_mut().filter(|c| c.operator.has_variables()) {
                self.fill(&mut condition.values, document.syntax(condition.operator.has_wildcards()));
            }
        }
        Some((hold, out))
    }

    /// Fills in variables whose values are known; a text whose variable is missing matches nothing and goes.
    fn fill(&self, words: &mut Vec<Word>, syntax: crate::pattern::Syntax) {
        if !words.iter().any(|w| w.text.contains("${")) {
            return;
        }
        words.retain_mut(|word| {
            if !word.text.contains("${") {
                return true;
            }
            let mut text = String::new();
            for piece in pieces(&word.text, syntax) {
                match piece {
                    Piece::Char(c) => literal(&mut text, c),
                    Piece::Any => text.push('*'),
                    Piece::One => text.push('?'),
                    Piece::Variable { key, default } => {
                        let known = match self.fact(&key) {
                            Some(Fact::Is(values)) if values.len() == 1 => values.into_iter().next(),
                            Some(Fact::Absent) if default.is_none() => return false,
                            Some(Fact::Absent) => default.clone(),
                            _ => None,
                        };
                        match (known, default) {
                            (Some(value), _) => value.chars().for_each(|c| literal(&mut text, c)),
                            (None, None) => text.push_str(&format!("${{{key}}}")),
                            (None, Some(default)) => text.push_str(&format!("${{{key}, '{default}'}}")),
                        }
                    }
                }
            }
            word.text = text;
            true
        });
    }
}

/// A character that stands for itself, as a text with variables writes it.
fn literal(text: &mut String, c: char) {
    match c {
        '*' | '?' | '$' => {
            text.push_str("${");
            text.push(c);
            text.push('}');
        }
        c => text.push(c),
    }
}
