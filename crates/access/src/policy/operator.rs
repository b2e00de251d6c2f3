//! Condition operators (IAM reference_policies_elements_condition_operators).

/// How the values of a request are taken together (IAM reference_policies_condition-single-vs-multi-valued-context-keys).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Quantifier {
    Plain,
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Compare {
    Equals,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

/// What is compared, without its negation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Base {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    /// `ArnEquals` and `ArnLike` are the same.
    Arn,
    Numeric(Compare),
    Date(Compare),
    Bool,
    Binary,
    IpAddress,
    Null,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Operator {
    pub quantifier: Quantifier,
    pub base: Base,
    /// True when no value of the policy may match.
    pub negated: bool,
    /// True for a key that the request does not have.
    pub if_exists: bool,
}

impl Operator {
    /// An operator by its name; names know no case. `None` for one that does not exist.
    #[must_use]
    pub fn read(name: &str) -> Option<Operator> {
        let lower = name.to_ascii_lowercase();
        let (quantifier, rest) = match lower.split_once(':') {
            Some(("forallvalues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("foranyvalue", rest)) => (Quantifier::ForAnyValue, rest),
            Some(_) => return None,
            None => (Quantifier::Plain, lower.as_str()),
        };
        let (rest, if_exists) = rest.strip_suffix("ifexists").map_or((rest, false), |r| (r, true));
        let (base, negated) = match rest {
            "stringequals" => (Base::StringEquals, false),
            "stringnotequals" => (Base::StringEquals, true),
            "stringequalsignorecase" => (Base::StringEqualsIgnoreCase, false),
            "stringnotequalsignorecase" => (Base::StringEqualsIgnoreCase, true),
            "stringlike" => (Base::StringLike, false),
            "stringnotlike" => (Base::StringLike, true),
            "arnequals" | "arnlike" => (Base::Arn, false),
            "arnnotequals" | "arnnotlike" => (Base::Arn, true),
            "numericequals" => (Base::Numeric(Compare::Equals), false),
            "numericnotequals" => (Base::Numeric(Compare::Equals), true),
            "numericlessthan" => (Base::Numeric(Compare::LessThan), false),
            "numericlessthanequals" => (Base::Numeric(Compare::LessThanEquals), false),
            "numericgreaterthan" => (Base::Numeric(Compare::GreaterThan), false),
            "numericgreaterthanequals" => (Base::Numeric(Compare::GreaterThanEquals), false),
            "dateequals" => (Base::Date(Compare::Equals), false),
            "datenotequals" => (Base::Date(Compare::Equals), true),
            "datelessthan" => (Base::Date(Compare::LessThan), false),
            "datelessthanequals" => (Base::Date(Compare::LessThanEquals), false),
            "dategreaterthan" => (Base::Date(Compare::GreaterThan), false),
            "dategreaterthanequals" => (Base::Date(Compare::GreaterThanEquals), false),
            "bool" => (Base::Bool, false),
            "binaryequals" => (Base::Binary, false),
            "ipaddress" => (Base::IpAddress, false),
            "notipaddress" => (Base::IpAddress, true),
            "null" if !if_exists && quantifier == Quantifier::Plain => (Base::Null, false),
            _ => return None,
        };
        Some(Operator { quantifier, base, negated, if_exists })
    }

    /// Whether `*` and `?` are wildcards in its values.
    #[must_use]
    pub fn has_wildcards(self) -> bool {
        matches!(self.base, Base::StringLike | Base::Arn)
    }

    /// Whether its values may hold variables.
    #[must_use]
    pub fn has_variables(self) -> bool {
        matches!(
            self.base,
            Base::StringEquals | Base::StringEqualsIgnoreCase | Base::StringLike | Base::Arn | Base::Bool
        )
    }
}

/// The name as the documentation writes it.
impl std::fmt::Display for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.quantifier {
            Quantifier::Plain => "",
            Quantifier::ForAllValues => "ForAllValues:",
            Quantifier::ForAnyValue => "ForAnyValue:",
        })?;
        let (before, after) = match self.base {
            Base::StringEquals => ("String", "Equals"),
            Base::StringEqualsIgnoreCase => ("String", "EqualsIgnoreCase"),
            Base::StringLike => ("String", "Like"),
            Base::Arn => ("Arn", "Like"),
            Base::Numeric(compare) => ("Numeric", compare.name()),
            Base::Date(compare) => ("Date", compare.name()),
            Base::Bool => ("", "Bool"),
            Base::Binary => ("Binary", "Equals"),
            Base::IpAddress => ("", "IpAddress"),
            Base::Null => ("", "Null"),
        };
        let (first, second) =
            if before.is_empty() && self.negated { ("Not", after) } else { (before, after) };
        let not = if self.negated && !before.is_empty() { "Not" } else { "" };
        let if_exists = if self.if_exists { "IfExists" } else { "" };
        write!(f, "{first}{not}{second}{if_exists}")
    }
}

impl Compare {
    fn name(self) -> &'static str {
        match self {
            Compare::Equals => "Equals",
            Compare::LessThan => "LessThan",
            Compare::LessThanEquals => "LessThanEquals",
            Compare::GreaterThan => "GreaterThan",
            Compare::GreaterThanEquals => "GreaterThanEquals",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_prefix_suffix_and_any_case() {
        let read = |name| Operator::read(name).unwrap();
        let plain = Operator {
            quantifier: Quantifier::Plain,
            base: Base::StringLike,
            negated: false,
            if_exists: false,
        };
        assert_eq!(read("stringlike"), plain);
        assert_eq!(read("StringNotLike"), Operator { negated: true, ..plain });
        assert_eq!(read("StringLikeIfExists"), Operator { if_exists: true, ..plain });
        let any = Operator { quantifier: Quantifier::ForAnyValue, if_exists: true, ..plain };
        assert_eq!(read("ForAnyValue:StringLikeIfExists"), any);
        assert_eq!(read("ArnEquals"), read("ArnLike"));
        for name in [
            "StringNotLikeIfExists",
            "ForAnyValue:StringEquals",
            "NotIpAddress",
            "Bool",
            "Null",
            "DateLessThan",
        ] {
            assert_eq!(read(name).to_string(), name);
        }
        for bad in ["", "StringLikes", "ForSome:StringLike", "NullIfExists", "ForAllValues:Null", "NotBool"] {
            assert_eq!(Operator::read(bad), None, "{bad}");
        }
    }
}
