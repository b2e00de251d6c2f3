//! From instances to resources: which type is what, where the documents go, what AWS sets when nobody does.

use super::read::{Instance, Tree, list, set};
use super::tables::{self, BASES, Base, DOCUMENTS, Document};
use super::{Options, Plan, Planned, placeholder};
use super::{document, lambda, special};
use crate::arn::{Arn, is_account};
use crate::calls;
use model::Resource;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A resource in the making.
pub(super) struct Draft {
    pub address: String,
    pub actions: Vec<String>,
    pub sources: BTreeMap<String, String>,
    pub resource: Resource,
    pub partition: String,
    /// Instance that creates it.
    pub instance: Option<usize>,
}

pub(super) struct Mapper<'t, 'a> {
    pub tree: &'t Tree<'a>,
    options: &'t Options,
    pub drafts: Vec<Draft>,
    /// Calls of a type that stand in a resource which could not be told: no other of the type is said to have none.
    unplaced: BTreeSet<(&'static str, &'static str)>,
    notes: BTreeSet<String>,
    not_read: BTreeMap<String, usize>,
}

/// Where an instance lives.
struct Place {
    partition: String,
    account: String,
    region: String,
}

impl<'t, 'a> Mapper<'t, 'a> {
    pub fn of(tree: &'t Tree<'a>, options: &'t Options) -> Mapper<'t, 'a> {
        Mapper {
            tree,
            options,
            drafts: Vec::new(),
            unplaced: BTreeSet::new(),
            notes: BTreeSet::new(),
            not_read: BTreeMap::new(),
        }
    }

    pub fn finish(mut self) -> Plan {
        let tree = self.tree;
        let managed = || tree.instances.iter().enumerate().filter(|(_, i)| !i.is_data);
        for (at, instance) in managed() {
            if let Some(base) = BASES.iter().find(|b| b.tf == instance.kind) {
                self.begin(at, instance, base);
            }
        }
        for (at, instance) in managed().filter(|(_, i)| i.kind == "aws_lambda_alias") {
            lambda::alias(&mut self, at, instance);
        }
        // What a resource says of itself is older where a second one sets it: the provider reads it back.
        for is_linked in [false, true] {
            for (at, instance) in managed() {
                let documents = DOCUMENTS.iter().filter(|d| d.tf == instance.kind);
                for document in documents.filter(|d| d.link.is_some() == is_linked) {
                    self.document(at, instance, document);
                }
            }
        }
        for is_base in [true, false] {
            let is_such = |i: &Instance| BASES.iter().any(|b| b.tf == i.kind) == is_base;
            for (at, instance) in managed().filter(|(_, i)| is_such(i)) {
                let is_read = special::read(&mut self, at, instance);
                if !is_read && !tables::is_read(instance.kind) {
                    *self.not_read.entry(instance.kind.to_owned()).or_default() += 1;
                }
            }
        }
        self.defaults();
        let deleted = self.deleted();
        if let Some(true) = tree.document.get("errored").and_then(Value::as_bool) {
            self.note("the plan ended with an error and is not whole");
        }
        let planned = |draft: Draft| {
            let Draft { address, actions, sources, resource, .. } = draft;
            Planned { address, actions, sources, resource }
        };
        Plan {
            resources: self.drafts.into_iter().map(planned).collect(),
            unknown: Vec::new(),
            deleted,
            not_read: self.not_read,
            notes: self.notes.into_iter().collect(),
        }
    }

    pub fn notes(self) -> Vec<String> {
        self.notes.into_iter().collect()
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.insert(note.into());
    }

    fn begin(&mut self, at: usize, instance: &Instance, base: &Base) {
        let name = instance.text(base.name).unwrap_or_else(|| placeholder(instance.address, base.name));
        let name = match (base.tf, instance.text("version")) {
            // A version of a layer is called by both.
            ("aws_lambda_layer_version", version) => {
                format!("{name}:{}", version.unwrap_or_else(|| placeholder(instance.address, "version")))
            }
            _ => name,
        };
        let path = instance.text("path").unwrap_or_else(|| "/".to_owned());
        self.draft(at, instance, base.kind, &name, &base.arn.replace("{path}", &path));
    }

    /// A new draft for an instance; the ARN as the provider says, or from the template behind `arn:PARTITION:`.
    pub fn draft(
        &mut self,
        at: usize,
        instance: &Instance,
        kind: &'static str,
        name: &str,
        template: &str,
    ) -> usize {
        let known =
            instance.text("arn").filter(|arn| Arn::parse(arn).is_some_and(|a| !a.resource.is_empty()));
        let index = self.add(instance, kind, name, template, known.as_deref());
        if let Some(draft) = self.drafts.get_mut(index) {
            draft.instance = Some(at);
            let tags = instance.get("tags_all").filter(Value::is_object).or_else(|| instance.get("tags"));
            draft.resource.tags = tags
                .as_ref()
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
                .collect();
        }
        index
    }

    fn add(
        &mut self,
        instance: &Instance,
        kind: &'static str,
        name: &str,
        template: &str,
        arn: Option<&str>,
    ) -> usize {
        let mut place = self.place(instance);
        if let Some(known) = arn.and_then(Arn::parse) {
            known.partition.clone_into(&mut place.partition);
            if is_account(known.account) {
                known.account.clone_into(&mut place.account);
            }
            if !known.region.is_empty() {
                known.region.clone_into(&mut place.region);
            }
        }
        if kind == "AWS::Account" {
            name.clone_into(&mut place.account);
        }
        let arn = match arn {
            Some(arn) => arn.to_owned(),
            None => format!("arn:{}:{template}", place.partition)
                .replace("{region}", &place.region)
                .replace("{account}", &place.account)
                .replace("{name}", name),
        };
        let is_global = Arn::parse(&arn).is_some_and(|a| a.region.is_empty()) && kind != "AWS::S3::Bucket";
        let resource = Resource {
            kind: kind.to_owned(),
            arn,
            account: place.account,
            region: if is_global { String::new() } else { place.region },
            name: name.to_owned(),
            tags: BTreeMap::new(),
            config: BTreeMap::new(),
            captured_at: self.options.captured_at,
        };
        self.drafts.push(Draft {
            address: instance.address.to_owned(),
            actions: instance.actions.iter().map(|&a| a.to_owned()).collect(),
            sources: BTreeMap::new(),
            resource,
            partition: place.partition,
            instance: None,
        });
        self.drafts.len() - 1
    }

    /// The draft that an attribute names, or a new one for what is not in the plan. `operation` is what will be told of it.
    pub fn link(
        &mut self,
        at: usize,
        instance: &Instance,
        attribute: &str,
        kind: &'static str,
        operation: &'static str,
    ) -> usize {
        let value = if instance.is_unknown(attribute) { None } else { instance.text(attribute) };
        self.link_to(at, instance, attribute, value, kind, operation)
    }

    /// As [`Mapper::link`], with the value of the attribute; `None`: not known.
    pub fn link_to(
        &mut self,
        at: usize,
        instance: &Instance,
        attribute: &str,
        value: Option<String>,
        kind: &'static str,
        operation: &'static str,
    ) -> usize {
        if let Some(value) = &value {
            let found = self.drafts.iter().position(|d| d.resource.kind == kind && self.is_called(d, value));
            if let Some(found) = found {
                return found;
            }
        }
        let is_kind = |i: &Instance| {
            !i.is_data
                && (BASES.iter().any(|b| b.tf == i.kind && b.kind == kind)
                    || (i.kind == "aws_lambda_alias" && kind == "AWS::Lambda::Alias"))
        };
        if value.is_none()
            && let Some(target) = self.tree.target(at, attribute, is_kind)
            && let Some(found) = self.drafts.iter().position(|d| d.instance == Some(target))
        {
            return found;
        }
        let written = value.clone().unwrap_or_else(|| {
            self.cannot_place(kind, operation);
            placeholder(instance.address, attribute)
        });
        let known = value.as_deref().filter(|v| Arn::parse(v).is_some());
        // An ARN or an address ends with the name.
        let name = match value.as_deref() {
            Some(v) if v.contains("://") || known.is_some() => {
                v.rsplit(['/', ':']).next().unwrap_or(v).to_owned()
            }
            _ => written,
        };
        if value.is_none()
            && let Some(same) =
                self.drafts.iter().position(|d| d.resource.kind == kind && d.resource.name == name)
        {
            return same;
        }
        let template =
            BASES.iter().find(|b| b.kind == kind).map_or("{name}", |b| b.arn).replace("{path}", "/");
        self.add(instance, kind, &name, &template, known)
    }

    /// Something speaks of a resource of this type that cannot be told.
    pub fn cannot_place(&mut self, kind: &'static str, operation: &'static str) {
        self.unplaced.insert((kind, operation));
        if kind == "AWS::Lambda::Function" {
            // What cannot be told may be an alias of the function.
            self.unplaced.insert(("AWS::Lambda::Alias", operation));
        }
    }

    fn is_called(&self, draft: &Draft, value: &str) -> bool {
        let of = draft.instance.and_then(|i| self.tree.instances.get(i));
        let id = of.and_then(|i| i.text("id"));
        let tail = value.rsplit(['/', ':']).next().unwrap_or(value);
        let is_path = value.contains("://") || Arn::parse(value).is_some();
        // With an ARN on both sides the whole of it decides: one name may stand in two regions.
        let same_place = |v: &Arn| {
            let own = Arn::parse(&draft.resource.arn);
            own.is_none_or(|own| {
                let same = |a: &str, b: &str| a.is_empty() || b.is_empty() || a == b;
                same(own.region, v.region) && (same(own.account, v.account) || own.account == NOBODY)
            })
        };
        draft.resource.name == value
            || draft.resource.arn == value
            || id.as_deref() == Some(value)
            || (is_path && draft.resource.name == tail && Arn::parse(value).as_ref().is_none_or(same_place))
    }

    /// The resource of the account that an instance belongs to.
    pub fn account(&mut self, instance: &Instance) -> usize {
        let named = instance.text("account_id").filter(|a| is_account(a));
        let account = named.unwrap_or_else(|| self.place(instance).account);
        let is_it = |d: &Draft| d.resource.kind == "AWS::Account" && d.resource.name == account;
        match self.drafts.iter().position(is_it) {
            Some(found) => found,
            None => self.add(instance, "AWS::Account", &account, &format!("iam::{account}:root"), None),
        }
    }

    pub fn region_of(&mut self, instance: &Instance) -> String {
        self.place(instance).region
    }

    /// Puts a part of an answer into a draft, and remembers where it came from.
    pub fn put(
        &mut self,
        draft: usize,
        operation: &str,
        path: &str,
        value: Value,
        source: impl Into<String>,
    ) {
        let Some(draft) = self.drafts.get_mut(draft) else { return };
        let answer = draft.resource.config.entry(operation.to_owned()).or_insert_with(|| json!({}));
        set(answer, path, value);
        let pointer = path.split('.').filter(|s| !s.is_empty()).fold(format!("/{operation}"), |mut p, s| {
            p.push('/');
            p.push_str(s);
            p
        });
        draft.sources.insert(pointer, source.into());
    }

    /// Adds to a list in an answer.
    pub fn push(
        &mut self,
        draft: usize,
        operation: &str,
        path: &str,
        value: Value,
        source: impl Into<String>,
    ) {
        let Some(found) = self.drafts.get(draft) else { return };
        let old = found.resource.config.get(operation).and_then(|a| calls::at(a, path));
        let mut items = old.and_then(Value::as_array).cloned().unwrap_or_default();
        let at = items.len();
        items.push(value);
        self.put(draft, operation, path, Value::Array(items), "");
        let Some(found) = self.drafts.get_mut(draft) else { return };
        let pointer = format!("/{operation}/{}", path.replace('.', "/"));
        found.sources.remove(&pointer);
        found.sources.insert(format!("{pointer}/{at}"), source.into());
    }

    fn document(&mut self, at: usize, instance: &Instance, document: &Document) {
        let Some((text, source)) = self.policy_text(at, instance, document.attribute) else { return };
        let draft = match document.link {
            Some(link) => self.link(at, instance, link, document.kind, document.operation),
            None => match self.drafts.iter().position(|d| d.instance == Some(at)) {
                Some(own) => own,
                None => return,
            },
        };
        self.put(draft, document.operation, document.path, Value::String(text), source);
    }

    /// A policy's text, and where it came from. One that is unknown because its data source is read during the apply is built from
    /// what is known of that data source.
    pub fn policy_text(
        &mut self,
        at: usize,
        instance: &Instance,
        attribute: &str,
    ) -> Option<(String, String)> {
        let text = instance.text(attribute)?;
        let source = format!("{}.{attribute}", instance.address);
        if !instance.is_unknown(attribute) {
            return Some((text, source));
        }
        let found = self.tree.only_target(at, attribute).and_then(|i| self.tree.instances.get(i));
        let found = found.filter(|i| i.is_data && i.kind == "aws_iam_policy_document");
        let built = found.and_then(|i| Some((i, document::text(i)?)));
        match built {
            Some((data, document)) => {
                self.note(format!(
                    "`{source}` is put together from `{}`, as if used unchanged",
                    data.address
                ));
                Some((document, data.address.to_owned()))
            }
            None => Some((text, source)),
        }
    }

    /// What AWS sets on what the plan creates, where the plan says nothing.
    fn defaults(&mut self) {
        for at in 0..self.drafts.len() {
            let Some(draft) = self.drafts.get(at) else { break };
            let is_created =
                draft.instance.and_then(|i| self.tree.instances.get(i)).is_some_and(Instance::is_created);
            if !is_created {
                continue;
            }
            let kind = draft.resource.kind.clone();
            for (operation, path, value) in special::defaults(draft) {
                if self.is_open(at, &kind, operation, path) {
                    self.put(at, operation, path, value, "default: what AWS sets when it is created");
                }
            }
            for document in DOCUMENTS.iter().filter(|d| d.kind == kind) {
                if self.is_open(at, &kind, document.operation, "") {
                    self.put(at, document.operation, "", json!({}), "default: nothing in the plan sets it");
                }
            }
        }
    }

    /// Whether nothing is said, and nothing that could not be placed may say it.
    fn is_open(&self, draft: usize, kind: &str, operation: &str, path: &str) -> bool {
        let answer = self.drafts.get(draft).and_then(|d| d.resource.config.get(operation));
        let is_said = answer.is_some_and(|a| path.is_empty() || calls::at(a, path).is_some());
        !is_said && !self.unplaced.iter().any(|(k, o)| *k == kind && *o == operation)
    }

    fn deleted(&self) -> Vec<String> {
        let is_read = |kind: &str| tables::is_read(kind) || special::TYPES.contains(&kind);
        let mut deleted: Vec<String> = list(self.tree.document.get("resource_changes"))
            .filter(|c| {
                let actions: Vec<&str> =
                    list(c.pointer("/change/actions")).filter_map(Value::as_str).collect();
                let kind = c.get("type").and_then(Value::as_str).unwrap_or_default();
                actions == ["delete"]
                    && is_read(kind)
                    && c.get("mode").and_then(Value::as_str) != Some("data")
            })
            .filter_map(|c| Some(c.get("address")?.as_str()?.to_owned()))
            .collect();
        deleted.sort();
        deleted
    }

    fn place(&mut self, instance: &Instance) -> Place {
        let provider = self.tree.provider(instance);
        let constant = |key: &str| {
            self.tree.constant(provider.and_then(|p| p.get(key))).and_then(Value::as_str).map(str::to_owned)
        };
        let region = instance.text("region").filter(|r| !r.starts_with("${")).or_else(|| constant("region"));
        let allowed = self.tree.constant(provider.and_then(|p| p.get("allowed_account_ids")));
        let allowed = match allowed.and_then(Value::as_array).map(Vec::as_slice) {
            Some([one]) => one.as_str().map(str::to_owned),
            _ => None,
        };
        let role = list(provider.and_then(|p| p.get("assume_role")))
            .find_map(|r| self.tree.constant(r.get("role_arn")))
            .and_then(Value::as_str)
            .and_then(Arn::parse)
            .map(|a| a.account.to_owned());
        let account = allowed.or(role).or_else(|| self.tree.caller()).filter(|a| is_account(a));
        let account = account.or_else(|| self.options.account.clone());
        let region = region.or_else(|| self.options.region.clone());
        if account.is_none() {
            self.note(format!("the plan names no account: {NOBODY} stands for it"));
        }
        if region.is_none() {
            self.note(format!("the plan names no region: {NOWHERE} stands for it"));
        }
        let region = region.unwrap_or_else(|| NOWHERE.to_owned());
        let partition = match &region {
            r if r.starts_with("cn-") => "aws-cn",
            r if r.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        Place {
            partition: partition.to_owned(),
            account: account.unwrap_or_else(|| NOBODY.to_owned()),
            region,
        }
    }
}

/// Stands for an account that nobody names.
pub(super) const NOBODY: &str = "000000000000";
/// Stands for a region that nobody names.
pub(super) const NOWHERE: &str = "us-east-1";
