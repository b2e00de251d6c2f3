//! A search tree as a DataFusion expression over one dataset's columns. A column that the dataset does not have is null there: the
//! test on it is false, its negation true, as for any absent value.

use crate::functions;
use crate::language::{Field, Operator, Query};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::functions_nested::expr_fn::array_has;
use datafusion::logical_expr::{Expr, expr::ScalarFunction, lit};
use datafusion::prelude::{coalesce, ident};
use model::Time;

/// Why a value does not fit its column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no {wanted} for `{field}`")]
pub struct ValueError {
    pub field: String,
    pub value: String,
    pub wanted: &'static str,
}

/// The expression for `query` as a filter: rows where it cannot be decided do not match.
///
/// # Errors
/// A value that does not fit its column.
pub fn compile(query: &Query, schema: &Schema) -> Result<Expr, ValueError> {
    part(query, schema, Null::DoesNotMatch)
}

/// What an undecided test becomes. A filter drops null rows by itself, and a bare `column = value` lets the file's statistics rule
/// out pages, which they cannot do behind a `coalesce`. Under a negation null must be false first, or its rows would not match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Null {
    DoesNotMatch,
    IsFalse,
}

impl Null {
    fn of(self, e: Expr) -> Expr {
        match self {
            Null::DoesNotMatch => e,
            Null::IsFalse => coalesce(vec![e, lit(false)]),
        }
    }
}

fn part(query: &Query, schema: &Schema, null: Null) -> Result<Expr, ValueError> {
    Ok(match query {
        Query::All => lit(true),
        Query::And(parts) => join(parts, schema, Expr::and, true, null)?,
        Query::Or(parts) => join(parts, schema, Expr::or, false, null)?,
        Query::Not(inner) => Expr::Not(Box::new(part(inner, schema, Null::IsFalse)?)),
        Query::Word(word) => null.of(call("raw_word", ident("raw"), word)),
        Query::Test { field, op, values } => test(field, *op, values, schema, null)?,
    })
}

/// The moment of an event for ranges and order: its own time, else when we received it.
pub fn moment() -> Expr {
    coalesce(vec![ident("event_time"), ident("av_received")])
}

fn join(
    parts: &[Query],
    schema: &Schema,
    with: fn(Expr, Expr) -> Expr,
    none: bool,
    null: Null,
) -> Result<Expr, ValueError> {
    let mut all = None;
    for p in parts {
        let e = part(p, schema, null)?;
        all = Some(match all {
            None => e,
            Some(a) => with(a, e),
        });
    }
    Ok(all.unwrap_or_else(|| lit(none)))
}

fn call(name: &str, subject: Expr, pattern: &str) -> Expr {
    match functions::named(name) {
        Some(f) => Expr::ScalarFunction(ScalarFunction::new_udf(f, vec![subject, lit(pattern)])),
        None => lit(false),
    }
}

fn test(
    field: &Field,
    op: Operator,
    values: &[String],
    schema: &Schema,
    null: Null,
) -> Result<Expr, ValueError> {
    let (subject, kind, name) = match field {
        Field::Path(path) => (call("json_get", ident("raw"), path), DataType::Utf8, format!("raw.{path}")),
        Field::Column(name) if name == "time" => {
            (moment(), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), name.clone())
        }
        Field::Column(name) => match schema.field_with_name(name) {
            Ok(f) => (ident(name), f.data_type().clone(), name.clone()),
            Err(_) => return Ok(lit(op == Operator::NotEqual)),
        },
    };
    let one = |value: &String| single(&subject, &kind, op, value, &name, null);
    let mut any: Option<Expr> = None;
    for value in values {
        let e = one(value)?;
        any = Some(match any {
            None => e,
            Some(a) => a.or(e),
        });
    }
    Ok(any.unwrap_or_else(|| lit(false)))
}

fn single(
    subject: &Expr,
    kind: &DataType,
    op: Operator,
    value: &str,
    name: &str,
    null: Null,
) -> Result<Expr, ValueError> {
    let subject = subject.clone();
    if op == Operator::NotEqual {
        let equal = single(&subject, kind, Operator::Equal, value, name, Null::IsFalse)?;
        return Ok(Expr::Not(Box::new(equal)));
    }
    if matches!(kind, DataType::List(_)) {
        return Ok(null.of(match op {
            Operator::Like => call("has_glob", subject, value),
            _ => array_has(subject, lit(value)),
        }));
    }
    let address = op == Operator::In
        && value.contains('/')
        && value.split('/').next().is_some_and(|a| a.parse::<std::net::IpAddr>().is_ok());
    if address {
        return Ok(null.of(call("cidr_match", subject, value)));
    }
    if op == Operator::Like {
        let text = match kind {
            DataType::Utf8 => subject,
            _ => datafusion::logical_expr::cast(subject, DataType::Utf8),
        };
        return Ok(null.of(call("glob", text, value)));
    }
    let literal = literal(kind, value).ok_or_else(|| ValueError {
        field: name.to_owned(),
        value: value.to_owned(),
        wanted: wanted(kind),
    })?;
    let literal = lit(literal);
    Ok(null.of(match op {
        Operator::Equal | Operator::In | Operator::NotEqual | Operator::Like => subject.eq(literal),
        Operator::Less => subject.lt(literal),
        Operator::LessOrEqual => subject.lt_eq(literal),
        Operator::Greater => subject.gt(literal),
        Operator::GreaterOrEqual => subject.gt_eq(literal),
    }))
}

fn literal(kind: &DataType, value: &str) -> Option<ScalarValue> {
    Some(match kind {
        DataType::Boolean => ScalarValue::Boolean(Some(value.parse().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(value.parse().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(value.parse().ok()?)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let time = Time::parse_rfc3339(value.as_bytes())
                .or_else(|| Time::parse_rfc3339(format!("{value}T00:00:00Z").as_bytes()))?;
            ScalarValue::TimestampMicrosecond(Some(time.0), zone.clone())
        }
        DataType::FixedSizeBinary(16) => {
            let id: model::EventId = value.parse().ok()?;
            ScalarValue::FixedSizeBinary(16, Some(id.0.to_vec()))
        }
        DataType::Binary => ScalarValue::Binary(Some(value.as_bytes().to_vec())),
        _ => ScalarValue::Utf8(Some(value.to_owned())),
    })
}

fn wanted(kind: &DataType) -> &'static str {
    match kind {
        DataType::Boolean => "truth value (true or false)",
        DataType::Int32 | DataType::Int64 => "whole number",
        DataType::Timestamp(..) => "time (2026-05-01 or 2026-05-01T09:00:00Z)",
        DataType::FixedSizeBinary(_) => "event id (22 characters)",
        _ => "value",
    }
}
