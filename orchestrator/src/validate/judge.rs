//! stub
use crate::domain::{event::*, failure::*, project::*, spec::*};
pub const CLAUDE_MD: &str = "CLAUDE.md";
pub fn files_to_look_at(_: &Spec, _: &RoleSpec) -> Vec<String> {
    vec![]
}
pub fn claude_md_pin(_: &RoleSpec) -> Pin {
    Pin { size: 0, sha256: String::new() }
}
pub fn judge_role(_: &Spec, _: &RoleSpec, _: Option<&Pin>, _: &RoleFound, _: Stage) -> Vec<Failure> {
    vec![]
}
