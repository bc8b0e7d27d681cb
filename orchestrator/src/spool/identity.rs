//! Who an agent is: the variables its session was started with.

use super::SpoolError;
use crate::domain::id::{Epoch, ProjectId, RoleName, Token};
use crate::validate::text;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Holds the project's number.
pub const PROJECT_VAR: &str = "ORCH_PROJECT";
/// Holds the role's name.
pub const ROLE_VAR: &str = "ORCH_ROLE";
/// Holds the incarnation's number.
pub const EPOCH_VAR: &str = "ORCH_EPOCH";
/// Holds the incarnation's token.
pub const INSTANCE_VAR: &str = "ORCH_INSTANCE";
/// Holds the absolute path of the spool.
pub const SPOOL_VAR: &str = "ORCH_SPOOL";

/// Who reports, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its project.
    pub project: ProjectId,
    /// Its role.
    pub role: RoleName,
    /// Its incarnation.
    pub epoch: Epoch,
    /// Its token.
    pub token: Token,
    /// The spool it reports through; absolute.
    pub spool: PathBuf,
}

/// Reads who reports out of a process's environment.
///
/// # Errors
/// [`SpoolError::NoIdentity`] with the first variable that is missing or wrong, and what to do. The token is never
/// shown.
pub fn from_env(vars: &BTreeMap<String, String>) -> Result<Identity, SpoolError> {
    let get = |variable: &'static str| match vars.get(variable) {
        Some(value) if !value.is_empty() => Ok(value.as_str()),
        Some(_) | None => Err(wrong(variable, "is not set")),
    };
    let refuse =
        |variable: &'static str, value: &str, rule: &str| wrong(variable, &format!("= {}: {rule}", text::show(value)));
    let project = get(PROJECT_VAR)?;
    let number = project.parse::<i64>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| refuse(PROJECT_VAR, project, "must be a number from 1"))?;
    let role = get(ROLE_VAR)?;
    let name = text::role_name(role).map_err(|rule| refuse(ROLE_VAR, role, &rule))?;
    let epoch = get(EPOCH_VAR)?;
    let incarnation = epoch.parse::<u32>().ok().filter(|number| *number > 0);
    let incarnation = incarnation.ok_or_else(|| refuse(EPOCH_VAR, epoch, "must be a number from 1"))?;
    let token = get(INSTANCE_VAR)?;
    if !text::is_token(token) {
        return Err(wrong(INSTANCE_VAR, "must be 32 lower-case hexadecimal digits"));
    }
    let spool = get(SPOOL_VAR)?;
    text::path(spool).map_err(|rule| refuse(SPOOL_VAR, spool, &rule))?;
    let folder = PathBuf::from(spool);
    if !folder.is_absolute() {
        return Err(refuse(SPOOL_VAR, spool, "must be an absolute path"));
    }
    Ok(Identity {
        project: ProjectId(number),
        role: name,
        epoch: Epoch(incarnation),
        token: Token(token.to_owned()),
        spool: folder,
    })
}

fn wrong(variable: &'static str, problem: &str) -> SpoolError {
    SpoolError::NoIdentity { variable, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars() -> BTreeMap<String, String> {
        let pairs = [
            (PROJECT_VAR, "3"),
            (ROLE_VAR, "dev"),
            (EPOCH_VAR, "2"),
            (INSTANCE_VAR, "0123456789abcdef0123456789abcdef"),
            (SPOOL_VAR, "/srv/orch/spool"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn check(variable: &str, value: Option<&str>, expected: &str) {
        let mut vars = vars();
        match value {
            Some(value) => vars.insert(variable.to_owned(), value.to_owned()),
            None => vars.remove(variable),
        };
        let refused = from_env(&vars).map_err(|error| error.to_string());
        let advice = "this command is for agents: it runs inside a pane that orch started";
        assert_eq!(refused, Err(format!("{variable} {expected}; {advice}")));
    }

    #[test]
    fn the_environment_says_who_reports() {
        let identity = from_env(&vars()).expect("an identity");
        assert_eq!((identity.project, identity.epoch), (ProjectId(3), Epoch(2)));
        assert_eq!(identity.spool, PathBuf::from("/srv/orch/spool"));
    }

    #[test]
    fn each_variable_is_needed_and_checked() {
        check(PROJECT_VAR, None, "is not set");
        check(PROJECT_VAR, Some("0"), "= \"0\": must be a number from 1");
        check(PROJECT_VAR, Some("9223372036854775808"), "= \"9223372036854775808\": must be a number from 1");
        check(ROLE_VAR, Some("../x"), "= \"../x\": role must match [a-z0-9-]{1,32}");
        check(EPOCH_VAR, Some("two"), "= \"two\": must be a number from 1");
        check(INSTANCE_VAR, Some("SECRET"), "must be 32 lower-case hexadecimal digits");
        check(SPOOL_VAR, Some(""), "is not set");
        check(SPOOL_VAR, Some("spool"), "= \"spool\": must be an absolute path");
        check(SPOOL_VAR, Some("/a\nb"), "= \"/a\\nb\": control character U+000A at 2; a path may have none");
    }
}
