/// Which events a reader wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Dataset patterns: `aws.*`, `syslog`, `*`; one that starts with `!` takes out. Empty means everything.
    pub datasets: Vec<String>,
    /// First seq of interest.
    pub from: u64,
}

impl Selection {
    /// Everything from `from` on.
    #[must_use]
    pub fn all(from: u64) -> Selection {
        Selection { datasets: Vec::new(), from }
    }

    #[must_use]
    pub fn has(&self, dataset: &str) -> bool {
        let (mut wanted, mut any_positive) = (false, false);
        for pattern in &self.datasets {
            match pattern.strip_prefix('!') {
                Some(p) if glob(p, dataset) => return false,
                Some(_) => {}
                None => {
                    any_positive = true;
                    wanted |= glob(pattern, dataset);
                }
            }
        }
        wanted || !any_positive
    }
}

/// Whether `name` fits `pattern`, in which `*` stands for any run of characters.
#[must_use]
pub fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        // The leftmost place is enough: what follows a `*` may start anywhere after it.
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// How closely a pattern names a dataset: the longer its fixed text, the closer; a full name is closest.
#[must_use]
pub fn closeness(pattern: &str) -> (bool, usize) {
    (!pattern.contains('*'), pattern.bytes().filter(|b| *b != b'*').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &str, name: &str, expect: bool) {
        let datasets = patterns.split_whitespace().map(str::to_owned).collect();
        assert_eq!(Selection { datasets, from: 0 }.has(name), expect, "{patterns} {name}");
    }

    #[test]
    fn patterns() {
        check("", "a", true);
        check("*", "a", true);
        check("aws.*", "aws.cloudtrail", true);
        check("aws.*", "awsx", false);
        check("*.vault", "avouch.vault", true);
        check("a*t", "avouch.vault", true);
        check("a*t*t", "avouch.vault", false);
        check("a*u*t", "avouch.vault", true);
        check("syslog", "syslog2", false);
        check("syslog aws.*", "aws.x", true);
        check("!avouch.*", "syslog", true);
        check("!avouch.*", "avouch.vault", false);
        check("* !avouch.*", "avouch.vault", false);
        check("ab*ab", "ab", false);
    }

    #[test]
    fn a_name_is_closer_than_a_pattern() {
        assert!(closeness("aws.cloudtrail") > closeness("aws.cloud*trail*"));
        assert!(closeness("aws.*") > closeness("*"));
    }
}
