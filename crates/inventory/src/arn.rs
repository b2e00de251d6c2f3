//! The six parts of an ARN, and whether they agree with the fields beside it.

/// `arn:partition:service:region:account:resource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub partition: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// `None`: not an ARN. A placeholder of a plan may stand for any part.
    pub fn parse(text: &'a str) -> Option<Arn<'a>> {
        let mut parts = Vec::with_capacity(6);
        let (mut depth, mut start) = (0_usize, 0);
        for (i, c) in text.char_indices() {
            match c {
                // `${unknown:a.b}` has a colon of its own.
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ':' if depth == 0 && parts.len() < 5 => {
                    parts.push(text.get(start..i)?);
                    start = i + 1;
                }
                _ => {}
            }
        }
        parts.push(text.get(start..)?);
        match parts.as_slice() {
            &["arn", partition, service, region, account, resource]
                if !partition.is_empty() && !service.is_empty() && !resource.is_empty() =>
            {
                Some(Arn { partition, service, region, account, resource })
            }
            _ => None,
        }
    }

    /// Whether the resource is called so: all of it, or a part between `/` and `:`. Secrets have six characters of chance behind.
    pub fn names(&self, name: &str) -> bool {
        let edge = |c: char| c == '/' || c == ':';
        self.resource.match_indices(name).any(|(at, found)| {
            let before = self.resource.get(..at).unwrap_or_default();
            let after = self.resource.get(at + found.len()..).unwrap_or_default();
            let chance = self.service == "secretsmanager"
                && after.len() == 7
                && after.starts_with('-')
                && after.chars().skip(1).all(|c| c.is_ascii_alphanumeric());
            (before.is_empty() || before.ends_with(edge))
                && (after.is_empty() || after.starts_with(edge) || chance)
        })
    }
}

/// Whether the resource has an id that AWS made (`key/…`, `snapshot/snap-…`): its name is an alias, a tag or a title then.
pub(crate) fn has_made_id(resource: &str) -> bool {
    let last = resource.rsplit(['/', ':']).next().unwrap_or_default();
    let run = last.rsplit('-').next().unwrap_or_default();
    run.len() >= 8 && run.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arn: &str, name: &str, expect: Option<bool>) {
        assert_eq!(Arn::parse(arn).map(|a| a.names(name)), expect, "{arn} {name}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_an_arn_or_none(text in "(arn:|[a-z:/${}é-]){0,30}", name in "[a-z:/é]{0,5}") {
            if let Some(arn) = Arn::parse(&text) {
                arn.names(&name);
            }
        }
    }

    #[test]
    fn ids_that_aws_made() {
        for id in ["key/0000000a-0000-4000-8000-00000000000a", "key/mrk-0123456789abcdef0123456789abcdef"] {
            assert!(has_made_id(id), "{id}");
        }
        assert!(has_made_id("snapshot/snap-0123456789abcdef0") && has_made_id("file-system/fs-01234567"));
        assert!(
            !has_made_id("role/deploy") && !has_made_id("logs-2") && !has_made_id("secret:prod/db-AbCdEf")
        );
    }

    #[test]
    fn names_in_arns() {
        check("arn:aws:s3:::logs", "logs", Some(true));
        check("arn:aws:s3:::logs", "log", Some(false));
        check("arn:aws:iam::111122223333:role/ci/deploy", "deploy", Some(true));
        check("arn:aws:iam::111122223333:role/ci/deploy", "ci", Some(true));
        check("arn:aws:lambda:eu-west-1:111122223333:layer:common:3", "common:3", Some(true));
        check("arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbCdEf", "prod/db", Some(true));
        check("arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbCdEf", "prod", Some(true));
        check("arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbCdE", "prod/db", Some(false));
        check(
            "arn:aws:s3:::${unknown:aws_s3_bucket.x.bucket}",
            "${unknown:aws_s3_bucket.x.bucket}",
            Some(true),
        );
        check("arn:aws:s3::", "x", None);
        check("", "x", None);
        check("arn:aws:s3:::é", "é", Some(true));
    }
}
