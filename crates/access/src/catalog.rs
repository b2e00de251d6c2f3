//! What AWS says about its services: their actions, condition keys and resources, and how the ARNs of those look.
//!
//! `data/resources.txt` and `data/services.txt` are written by `cargo xtask catalog` (service authorization reference); they say where
//! they come from. `data/global-keys.txt` has the keys that every service knows. For verdicts about access one thing rests on them: where
//! the last part of an ARN may hold colons. Whatever is not in them is possible: a missing row never means that something cannot be.

mod keys;
mod services;

pub use keys::{Key, KeyKind, Mark, global_keys, is_global, key};
pub(crate) use services::glob;
pub use services::{
    AccessLevel, Action, ResourceUse, action, actions, edition, is_service, matching, service_keys, services,
};

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// A place in the shape of a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    Char(char),
    /// One character that is no colon.
    Some,
    /// Any number of those.
    More,
    /// One character.
    SomeWithColons,
    /// Any number of any characters.
    MoreWithColons,
}

const RESOURCES: &str = include_str!("../data/resources.txt");

/// Variables of templates whose values may hold colons. Everything else that AWS names is made of other characters.
const COLONS: [(&str, &str); 10] = [
    // Keys of objects are any UTF-8 (S3 object-keys).
    ("s3", "ObjectName"),
    ("s3-object-lambda", "ObjectName"),
    ("s3-outposts", "ObjectName"),
    ("s3express", "ObjectName"),
    // A path of a request.
    ("execute-api", "ApiSpecificResourcePath"),
    // Topics of MQTT are any UTF-8 (IoT topics).
    ("iot", "TopicName"),
    ("iot", "TopicFilter"),
    // Names of alarms and streams are nearly any text (CloudWatch PutMetricAlarm; CloudWatch Logs CreateLogStream forbids `:`, but
    // its ARNs are written with `:*` behind them).
    ("cloudwatch", "AlarmName"),
    ("logs", "LogGroupName"),
    ("logs", "LogStreamName"),
];

/// By service: the shapes of the last part of its ARNs, those with colons only.
static SHAPES: LazyLock<HashMap<&'static str, Vec<Vec<Shape>>>> = LazyLock::new(|| {
    let mut out: HashMap<&str, Vec<Vec<Shape>>> = HashMap::new();
    for line in RESOURCES.lines().filter(|l| !l.starts_with('#')) {
        let mut columns = line.split('\t');
        let (Some(_), Some(_), Some(arn)) = (columns.next(), columns.next(), columns.next()) else {
            continue;
        };
        // Not the service that lists the resource counts, but the one in its ARN.
        let mut parts = arn.splitn(6, ':');
        let (Some(service), Some(resource)) = (parts.nth(2), parts.nth(2)) else { continue };
        let shapes = out.entry(service).or_default();
        let shape = shape_of(service, resource);
        let is_open = shape.contains(&Shape::MoreWithColons);
        if (is_open || resource.contains(':')) && !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    out
});

/// By service: its resource types with the templates of their ARNs.
static TYPES: LazyLock<BTreeMap<&'static str, Vec<ResourceType>>> = LazyLock::new(|| {
    let mut out: BTreeMap<&str, Vec<ResourceType>> = BTreeMap::new();
    for line in RESOURCES.lines().filter(|l| !l.starts_with('#')) {
        let mut columns = line.split('\t');
        if let (Some(service), Some(name), Some(arn)) = (columns.next(), columns.next(), columns.next()) {
            out.entry(service).or_default().push(ResourceType { name, arn });
        }
    }
    out
});

/// A kind of resource: `bucket`, `arn:${Partition}:s3:::${BucketName}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResourceType {
    pub name: &'static str,
    /// What a resource fills in stands as `${Name}`. One type may have several templates, each in a row of its own.
    pub arn: &'static str,
}

/// What a service lists as its resources, those of other services that its actions work on included; none for one that is not known.
#[must_use]
pub fn resource_types(service: &str) -> &'static [ResourceType] {
    TYPES.get(service).map(Vec::as_slice).unwrap_or_default()
}

fn shape_of(service: &str, template: &str) -> Vec<Shape> {
    let mut out = Vec::new();
    let mut rest = template;
    while let Some(c) = rest.chars().next() {
        if let Some((name, behind)) = rest.strip_prefix("${").and_then(|r| r.split_once('}')) {
            let has_colons = COLONS.contains(&(service, name));
            out.extend(if has_colons {
                [Shape::SomeWithColons, Shape::MoreWithColons]
            } else {
                [Shape::Some, Shape::More]
            });
            rest = behind;
            continue;
        }
        match c {
            '*' => out.extend([Shape::Some, Shape::More]),
            c => out.push(Shape::Char(c)),
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

/// How the last part of ARNs of a service may look: anything without a colon, and what it is known to have with colons. For a service
/// that is not known, up to two colons anywhere.
#[must_use]
pub fn resource_shapes(service: &str) -> Vec<Vec<Shape>> {
    match SHAPES.get(service) {
        None => {
            let some = [Shape::Some, Shape::More];
            let colon = [Shape::Char(':')];
            let more = [Shape::More];
            vec![
                some.to_vec(),
                [&some[..], &colon, &more].concat(),
                [&some[..], &colon, &more, &colon, &more].concat(),
            ]
        }
        Some(with_colons) => {
            let plain = vec![Shape::Some, Shape::More];
            std::iter::once(plain).chain(with_colons.iter().cloned()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_services() {
        assert_eq!(resource_shapes("unheard-of").len(), 3);
        assert_eq!(resource_shapes("iam").len(), 1);
        assert!(resource_shapes("s3").iter().any(|s| s.contains(&Shape::MoreWithColons)));
        assert_eq!(resource_shapes("ecs").len(), 2);
        assert!(SHAPES.len() > 100);
    }
}
