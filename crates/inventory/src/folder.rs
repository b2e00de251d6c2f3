//! The estate folder: what exists, written to files (docs/reference/estate-folder.md).
//!
//! Every `*.json` below the folder is one serialised [`Resource`]; only the three names at its top mean something else:
//! `organization.json`, `scps/`, `rcps/`. Everything that is wrong is told at once, not only the first.

use crate::arn::{Arn, has_made_id, is_account};
use crate::calls;
use crate::error::{Area, Problem, Problems};
use model::{Organization, OrganizationPolicy, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A configuration item of 64 MiB is far beyond what AWS answers in one call (6 MiB); more is a wrong file.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// More files than the largest estates have resources with policies.
pub const FILES_MAX: usize = 1_000_000;
/// Enough to see what is wrong throughout; the rest is counted.
pub const PROBLEMS_MAX: usize = 50;

const AREA: Area = Area {
    bad_json: "estate.bad_json",
    unknown_key: "estate.unknown_key",
    bad_shape: "estate.bad_shape",
    shape_hint: "docs/reference/estate-folder.md shows a complete file",
};

/// What an estate folder holds.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Folder {
    /// By ARN.
    pub resources: Vec<Item>,
    pub organization: Option<Organization>,
    /// By id, as are `rcps`.
    pub scps: Vec<OrganizationPolicy>,
    pub rcps: Vec<OrganizationPolicy>,
}

/// A resource, and the file it stands in.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub file: PathBuf,
    pub resource: Resource,
}

impl Folder {
    /// What could not be read, of all resources.
    #[must_use]
    pub fn gaps(&self) -> Vec<calls::Gap> {
        self.resources.iter().flat_map(|item| calls::gaps(&item.resource)).collect()
    }
}

/// Reads an estate folder.
///
/// # Errors
/// Every file that cannot be read or is not what it must be: no JSON, an unknown key, an ARN that disagrees with the fields beside
/// it, a second file for one ARN, a file over [`FILE_BYTES_MAX`]; more than [`FILES_MAX`] files; a folder without any.
pub fn read(dir: &Path) -> Result<Folder, Problems> {
    read_within(dir, FILE_BYTES_MAX, FILES_MAX)
}

/// As [`read`], with limits that a test can reach.
fn read_within(dir: &Path, file_bytes_max: u64, files_max: usize) -> Result<Folder, Problems> {
    let mut wrong = Vec::new();
    let files = list(dir, files_max, &mut wrong);
    if files.is_empty() && wrong.is_empty() {
        let hint =
            "write one file per resource, or run the script that `avouch access collect-commands` prints";
        wrong.push(Problem::new("estate.empty", &told(dir), "no `*.json` file in this folder", hint));
    }
    let mut folder = Folder::default();
    for file in files {
        let read = take(dir, &file, file_bytes_max, &mut folder);
        wrong.extend(read.err().into_iter().flatten());
    }
    folder.resources.sort_by(|a, b| (&a.resource.arn, &a.file).cmp(&(&b.resource.arn, &b.file)));
    // Each account's part of an estate has the policies of AWS that are in use there: they are the same ones.
    folder.resources.dedup_by(|b, a| {
        let is_same = a.resource.arn == b.resource.arn && is_of_aws(&a.resource);
        if is_same && a.resource.answer("GetPolicyVersion").is_err() {
            std::mem::swap(a, b);
        }
        is_same
    });
    for pair in folder.resources.windows(2) {
        if let [first, second] = pair
            && first.resource.arn == second.resource.arn
        {
            wrong.push(Problem::new(
                "estate.duplicate_arn",
                &told(&second.file),
                format!(
                    "a second file for `{}`; the first is `{}`",
                    model::escape_controls(&first.resource.arn),
                    told(&first.file)
                ),
                "take one of them away: each stands for the whole resource",
            ));
        }
    }
    for (policies, sub) in [(&mut folder.scps, "scps"), (&mut folder.rcps, "rcps")] {
        policies.sort_by(|a, b| a.id.cmp(&b.id));
        for pair in policies.windows(2) {
            if let [first, second] = pair
                && first.id == second.id
            {
                let message = format!("two files for policy `{}`", model::escape_controls(&first.id));
                let hint = "take one of them away; one policy lists all its targets";
                wrong.push(Problem::new("estate.duplicate_policy", &told(&dir.join(sub)), message, hint));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(folder);
    }
    wrong.sort();
    let more = wrong.len().saturating_sub(PROBLEMS_MAX);
    wrong.truncate(PROBLEMS_MAX);
    Err(Problems { problems: wrong, more })
}

fn told(path: &Path) -> String {
    model::escape_controls(&path.to_string_lossy())
}

/// All `*.json` below a folder, sorted.
fn list(dir: &Path, files_max: usize, wrong: &mut Vec<Problem>) -> Vec<PathBuf> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "name the folder that holds the files",
            std::io::ErrorKind::NotADirectory => {
                "an estate is a folder; name the folder that holds the files"
            }
            _ => "make it readable for the user that runs avouch",
        };
        Problem::new("estate.unreadable", &told(path), format!("cannot be read: {error}"), hint)
    };
    let (mut files, mut folders) = (Vec::new(), vec![dir.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                wrong.push(unreadable(&folder, &error));
                continue;
            }
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    wrong.push(unreadable(&folder, &error));
                    continue;
                }
            };
            let is_link = path.is_symlink();
            if path.is_dir() && is_link {
                // Followed, a link upwards would never end; skipped in silence, an estate would be smaller than it looks.
                let hint = "copy the folder into its place";
                wrong.push(Problem::new(
                    "estate.link",
                    &told(&path),
                    "a link to a folder is not followed",
                    hint,
                ));
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
                files.push(path);
            }
            if files.len() > files_max {
                let message = format!("more than {files_max} files");
                let hint = "split the estate by account and read each part";
                wrong.push(Problem::new("estate.too_many_files", &told(dir), message, hint));
                return Vec::new();
            }
        }
    }
    files.sort();
    files
}

/// Reads one file into the folder, by where it stands.
fn take(dir: &Path, file: &Path, bytes_max: u64, folder: &mut Folder) -> Result<(), Vec<Problem>> {
    let name = told(file);
    let bytes = content(file, &name, bytes_max)?;
    let below = file.strip_prefix(dir).unwrap_or(file);
    let top = below.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned());
    match top.as_deref() {
        Some("organization.json") => {
            let organization: Organization = parse(&name, &bytes)?;
            check_organization(&name, &organization)?;
            folder.organization = Some(organization);
        }
        Some("scps") => folder.scps.push(policy(&name, &bytes)?),
        Some("rcps") => folder.rcps.push(policy(&name, &bytes)?),
        _ => {
            let mut resource: Resource = parse(&name, &bytes)?;
            check_resource(&name, &resource)?;
            calls::settle(&mut resource);
            if resource.tags.is_empty() {
                resource.tags = calls::tags(&resource.kind, &resource.config);
            }
            folder.resources.push(Item { file: file.to_path_buf(), resource });
        }
    }
    Ok(())
}

fn content(file: &Path, name: &str, bytes_max: u64) -> Result<Vec<u8>, Vec<Problem>> {
    let mut bytes = Vec::new();
    // A named pipe would be waited for; only what is a file is opened.
    let read = match fs::metadata(file) {
        Ok(about) if !about.is_file() => Err(std::io::Error::other("not a file")),
        Ok(_) => fs::File::open(file).and_then(|f| f.take(bytes_max + 1).read_to_end(&mut bytes)),
        Err(error) => Err(error),
    };
    if let Err(error) = read {
        let hint = "make it readable for the user that runs avouch, or take it away";
        return Err(vec![Problem::new("estate.unreadable", name, format!("cannot be read: {error}"), hint)]);
    }
    if bytes.len() as u64 > bytes_max {
        let message = format!("over {bytes_max} bytes");
        let hint = "one file holds one resource; split it";
        return Err(vec![Problem::new("estate.too_large", name, message, hint)]);
    }
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Vec<Problem>> {
    // Windows tools put a byte order mark before JSON; it says nothing.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice::<Keys>(text).map_err(|e| vec![Problem::json(AREA, name, bytes, &e)])?;
    is_object(name, text)?;
    serde_json::from_slice(text).map_err(|e| vec![Problem::json(AREA, name, bytes, &e)])
}

/// A derived reader also takes a list of values in the order of the keys; nobody means that.
fn is_object(name: &str, json: &[u8]) -> Result<(), Vec<Problem>> {
    if json.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    Err(vec![Problem::new(AREA.bad_shape, name, "not an object `{…}`", AREA.shape_hint)])
}

/// Walks a value to refuse a key that stands twice in one object: the second would silently take the place of the first.
struct Keys;

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Keys, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> serde::de::Visitor<'de> for Walk {
    type Value = Keys;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Keys, E> {
        Ok(Keys)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Keys, E> {
        Ok(Keys)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Keys, E> {
        Ok(Keys)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Keys, E> {
        Ok(Keys)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Keys, E> {
        Ok(Keys)
    }
    fn visit_str<E>(self, _: &str) -> Result<Keys, E> {
        Ok(Keys)
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Keys, A::Error> {
        while list.next_element::<Keys>()?.is_some() {}
        Ok(Keys)
    }
    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<Keys>()?;
            if seen.contains(&key) {
                return Err(serde::de::Error::custom(format!("key `{key}` stands twice in one object")));
            }
            seen.insert(key);
        }
        Ok(Keys)
    }
}

/// An organisation's policy as a file has it: the document as an object, or as its text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPolicy {
    id: String,
    #[serde(default)]
    name: String,
    targets: Vec<String>,
    document: Box<RawValue>,
}

fn policy(name: &str, bytes: &[u8]) -> Result<OrganizationPolicy, Vec<Problem>> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // Not through `parse`: what is odd in a policy's text, a key that stands twice included, is for its reader to see.
    let written: WrittenPolicy =
        serde_json::from_slice(text).map_err(|e| vec![Problem::json(AREA, name, bytes, &e)])?;
    is_object(name, text)?;
    let document = written.document.get();
    let document = match serde_json::from_str::<String>(document) {
        Ok(text) => text,
        Err(_) if document.starts_with('{') => document.to_owned(),
        Err(_) => {
            let hint = "write the policy itself, or its text in quotes";
            return Err(vec![Problem::new(AREA.bad_shape, name, "`document` is no policy", hint)]);
        }
    };
    Ok(OrganizationPolicy { id: written.id, name: written.name, targets: written.targets, document })
}

fn check_resource(file: &str, resource: &Resource) -> Result<(), Vec<Problem>> {
    let shown = model::escape_controls;
    let mut wrong = Vec::new();
    let mut say = |code, message: String, hint: &str| wrong.push(Problem::new(code, file, message, hint));
    if !is_account(&resource.account) {
        let message = format!("`account` is `{}`, not twelve digits", shown(&resource.account));
        say("estate.bad_shape", message, "write the number of the account that owns it, in quotes");
    }
    let Some(arn) = Arn::parse(&resource.arn) else {
        let message = format!("`{}` is no ARN", shown(&resource.arn));
        say("estate.bad_shape", message, "an ARN is arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE");
        return Err(wrong);
    };
    let is_of_account = resource.kind == "AWS::Account";
    let pairs = [("account", arn.account, &resource.account), ("region", arn.region, &resource.region)];
    for (key, in_arn, field) in pairs {
        // A policy that AWS manages is kept with the account in which it was found.
        let is_shared = key == "account" && is_of_aws(resource);
        if !in_arn.is_empty() && in_arn != field && !is_shared {
            let message = format!(
                "`{}` has {key} `{}`, but `{key}` is `{}`",
                shown(&resource.arn),
                shown(in_arn),
                shown(field)
            );
            say("estate.arn_mismatch", message, "correct the one that is wrong");
        }
    }
    // For types that the table does not know, the name may be a tag or a title.
    let known = calls::kind(&resource.kind).is_some();
    let is_named = if is_of_account { resource.name == resource.account } else { arn.names(&resource.name) };
    if known && !is_named && !has_made_id(arn.resource) {
        let message = format!("`{}` is not called `{}`", shown(&resource.arn), shown(&resource.name));
        say("estate.arn_mismatch", message, "`name` is the last part of the ARN, as the API takes it");
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// A policy that AWS manages: it belongs to no account.
fn is_of_aws(resource: &Resource) -> bool {
    resource.kind == "AWS::IAM::ManagedPolicy"
        && Arn::parse(&resource.arn).is_some_and(|arn| arn.account == "aws")
}

fn check_organization(file: &str, organization: &Organization) -> Result<(), Vec<Problem>> {
    let shown = model::escape_controls;
    let mut wrong = Vec::new();
    let prefix = format!("{}/{}/", organization.id, organization.root);
    let mut seen = BTreeMap::new();
    for account in &organization.accounts {
        if !is_account(&account.id) {
            let message = format!("account `{}` is not twelve digits", shown(&account.id));
            wrong.push(Problem::new("estate.bad_shape", file, message, "write its number, in quotes"));
        }
        if !account.path.starts_with(&prefix) || !account.path.ends_with('/') {
            let message = format!("account `{}` has path `{}`", shown(&account.id), shown(&account.path));
            let hint = format!("a path is `{}`, then the units with a slash behind each", shown(&prefix));
            wrong.push(Problem::new("estate.bad_shape", file, message, hint));
        }
        if seen.insert(&account.id, ()).is_some() {
            let message = format!("account `{}` stands twice", shown(&account.id));
            wrong.push(Problem::new("estate.bad_shape", file, message, "take one of them away"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told() {
        let dir = std::env::temp_dir().join(format!("inventory-limits-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for name in ["a.json", "b.json", "c.json"] {
            fs::write(dir.join(name), "0123456789").unwrap();
        }
        let large = read_within(&dir, 9, 3).unwrap_err();
        let many = read_within(&dir, 10, 2).unwrap_err();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(large.problems.len(), 3);
        assert!(large.problems.iter().all(|p| p.code == "estate.too_large" && p.message == "over 9 bytes"));
        assert_eq!(many.problems.len(), 1);
        assert_eq!(many.problems[0].code, "estate.too_many_files");
    }
}
