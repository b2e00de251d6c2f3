//! Address of a resource in the AWS console, from its ARN. A type without a known form gets none rather than a wrong one, and every
//! part is checked before it goes into an address: names come from whoever made the resource.

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE` → page, or `None`. `region` helps where the ARN has none.
#[must_use]
pub fn console_link(arn: &str, region: Option<&str>) -> Option<String> {
    let mut parts = arn.splitn(6, ':');
    if parts.next()? != "arn" {
        return None;
    }
    let (partition, service, own_region) = (parts.next()?, parts.next()?, parts.next()?);
    let (_account, resource) = (parts.next()?, parts.next()?);
    let host = match partition {
        "aws" => "console.aws.amazon.com",
        "aws-cn" => "console.amazonaws.cn",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        _ => return None,
    };
    let region = Some(own_region).filter(|r| !r.is_empty()).or(region);
    let in_region = || region.filter(|r| is_plain(r, "-"));
    let (kind, name) = resource.split_once(['/', ':']).unwrap_or(("", resource));
    // IAM paths come before the name.
    let last = resource.rsplit('/').next()?;
    let plain = |s: &'_ str| is_plain(s, "-_.").then(|| s.to_owned());
    Some(match (service, kind) {
        ("s3", _) if !resource.contains('/') => format!("https://{host}/s3/buckets/{}", plain(resource)?),
        ("iam", "user") => format!("https://{host}/iam/home#/users/details/{}", plain(last)?),
        ("iam", "role") => format!("https://{host}/iam/home#/roles/details/{}", plain(last)?),
        ("iam", "group") => format!("https://{host}/iam/home#/groups/details/{}", plain(last)?),
        ("ec2", "instance") => {
            let r = in_region()?;
            format!("https://{r}.{host}/ec2/home?region={r}#InstanceDetails:instanceId={}", plain(name)?)
        }
        ("ec2", "security-group") => {
            let r = in_region()?;
            format!("https://{r}.{host}/ec2/home?region={r}#SecurityGroup:groupId={}", plain(name)?)
        }
        ("lambda", "function") => {
            let r = in_region()?;
            format!("https://{r}.{host}/lambda/home?region={r}#/functions/{}", plain(name)?)
        }
        ("kms", "key") => {
            let r = in_region()?;
            format!("https://{r}.{host}/kms/home?region={r}#/kms/keys/{}", plain(name)?)
        }
        ("rds", "db") => {
            let r = in_region()?;
            format!("https://{r}.{host}/rds/home?region={r}#database:id={}", plain(name)?)
        }
        _ => return None,
    })
}

fn is_plain(s: &str, extra: &str) -> bool {
    const NAME_CHARS_MAX: usize = 255;
    !s.is_empty()
        && s.len() <= NAME_CHARS_MAX
        && s.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arn: &str, expect: Option<&str>) {
        assert_eq!(console_link(arn, Some("eu-west-2")).as_deref(), expect, "{arn}");
    }

    #[test]
    fn per_type_and_partition() {
        check("arn:aws:s3:::logs-prod", Some("https://console.aws.amazon.com/s3/buckets/logs-prod"));
        check("arn:aws-cn:s3:::logs", Some("https://console.amazonaws.cn/s3/buckets/logs"));
        check(
            "arn:aws:iam::1:user/ops/ana",
            Some("https://console.aws.amazon.com/iam/home#/users/details/ana"),
        );
        check(
            "arn:aws-us-gov:ec2:us-gov-west-1:1:instance/i-0a",
            Some(
                "https://us-gov-west-1.console.amazonaws-us-gov.com/ec2/home?region=us-gov-west-1#InstanceDetails:instanceId=i-0a",
            ),
        );
        check(
            "arn:aws:lambda:eu-west-1:1:function:f",
            Some("https://eu-west-1.console.aws.amazon.com/lambda/home?region=eu-west-1#/functions/f"),
        );
    }

    #[test]
    fn none_rather_than_a_wrong_one() {
        check("arn:aws:s3:::logs/object", None);
        check("arn:aws-iso:s3:::logs", None);
        check("arn:aws:quantum::1:thing/x", None);
        check("arn:aws:iam::1:user/x\">", None);
        check("arn:aws:ec2:evil.example:1:instance/i-1", None);
        check("root", None);
        assert_eq!(console_link("arn:aws:ec2::1:instance/i-1", None), None);
    }
}
